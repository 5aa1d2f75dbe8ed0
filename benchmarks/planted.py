"""Accuracy on planted long-range tasks: a family beside its dense twin, trained with the same tokens.

    python benchmarks/planted.py [--tasks gist needle …] [--families longdoc dense] [--seeds 1 2 3] [--steps 2000]
        [--gates 0.3 0.5 0.7]

Both models have the same width, layers, heads, feed-forward, optimizer and rows; only the attention differs.  One model
of each family and seed learns all tasks at once, as many rows of each in every batch, and is asked about each.  Prints
one line per model to standard error, and one JSON object: accuracies, the ratio of their means per task, the mean over
tasks and the worst task.  With ``--gates``, a trained model of long documents is asked once more at each threshold of
its gate; ``skipped`` is the share of chunks, layer by layer, that read nothing but themselves and their memory.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from trainer.evaluate.planted import NO_ANSWER, TASKS, VOCAB, Planted, accuracy
from trainer.models.common import init_weights

HELD_OUT = 1_000_003


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "vocab": VOCAB,
        "width": arguments.width,
        "layers": arguments.layers,
        "heads": arguments.heads,
        "hidden": 2 * arguments.width,
    }


def build(family: str, arguments: argparse.Namespace, seed: int) -> nn.Module:
    """A fresh model of ``family``."""
    if family == "dense":
        from trainer.models.dense import Dense, DenseConfig

        model: nn.Module = Dense(DenseConfig(**settings_of(arguments)))
    else:
        from trainer.models.longdoc import LongDoc, LongDocConfig

        config = LongDocConfig(
            **settings_of(arguments),
            chunk=arguments.chunk,
            pairs=arguments.pairs,
            memory_chunks=arguments.memory_chunks,
            allow_beyond=("chunk",),
        )
        model = LongDoc(config)
    init_weights(model, seed)
    return model.to(arguments.device)


def train(model: nn.Module, seed: int, arguments: argparse.Namespace) -> nn.Module:
    """AdamW with warm-up and a cosine; the loss is that of the answers."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.rate, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(arguments.steps):
        done = step / arguments.steps
        rate = arguments.rate * min(1, (step + 1) / 50) * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        parts = [TASKS[task](seed * HELD_OUT + step + 1, arguments.batch, arguments.length) for task in arguments.tasks]
        made = Planted(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        loss = answer_loss(model, made, arguments)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if arguments.verbose and step % 100 == 0:
            print(f"  step {step} loss {float(loss.detach()):.3f}", file=sys.stderr, flush=True)
    return model


def answer_loss(model: nn.Module, made: Planted, arguments: argparse.Namespace) -> torch.Tensor:
    tokens, answers = (torch.from_numpy(x).to(arguments.device) for x in made)
    hidden = model(tokens, compute_dtype=arguments.dtype).hidden_BTD[answers != NO_ANSWER]
    return F.cross_entropy(model.logits(hidden), answers[answers != NO_ANSWER])


@torch.no_grad()
def score(model: nn.Module, task: str, seed: int, arguments: argparse.Namespace) -> float:
    """Accuracy on rows that were not trained on."""
    model.eval()
    shares = []
    for part in range(arguments.held_out // 64):
        made = TASKS[task](HELD_OUT * (seed + 1) - 1 - part, 64, arguments.length)
        hidden = model(torch.from_numpy(made.tokens_RT).to(arguments.device), compute_dtype=arguments.dtype).hidden_BTD
        shares.append(accuracy(model.logits(hidden).argmax(-1).cpu().numpy(), made.answers_RT))
    return float(np.mean(shares))


def gated(model: Any, threshold: float, seed: int, arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Accuracy by task with the global branch skipped above a gate, and the share that was skipped."""
    model.set_gate_threshold(threshold)
    shares: list[float] = []
    watched = [block.attention.register_forward_hook(lambda _, __, out: shares.append(skipped(out[1], threshold)))
               for block in model.blocks]  # fmt: skip
    found = {}
    for task in arguments.tasks:
        shares.clear()
        found[task] = (score(model, task, seed, arguments), statistics.mean(shares))
    for handle in watched:
        handle.remove()
    model.set_gate_threshold(None)
    return found


def skipped(gate_GCH: torch.Tensor, threshold: float) -> float:
    """Share of chunks whose successor is read without the global branch: the last gate, mean over heads, is above."""
    return float((gate_GCH[:, -1].mean(-1) > threshold).double().mean())


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """All families and seeds."""
    found: dict[str, dict[str, list[float]]] = {task: {} for task in arguments.tasks}
    for seed in arguments.seeds:
        for family in arguments.families:
            start = time.process_time()
            model = train(build(family, arguments, seed), seed, arguments)
            shares = {task: score(model, task, seed, arguments) for task in arguments.tasks}
            for task, share in shares.items():
                found[task].setdefault(family, []).append(share)
            for gate in arguments.gates if family == "longdoc" else ():
                for task, (share, skipped) in gated(model, gate, seed, arguments).items():
                    found[task].setdefault(f"longdoc, gate {gate}", []).append(share)
                    found[task].setdefault(f"skipped, gate {gate}", []).append(skipped)
            told = "  ".join(f"{task} {share:.4f}" for task, share in shares.items())
            took = time.process_time() - start
            print(f"{family} seed {seed}: {told}  ({took:.0f} CPU s)", file=sys.stderr, flush=True)
    return report(found, arguments)


def report(found: dict[str, dict[str, list[float]]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Accuracies, and ratios to the dense twin where it was trained too."""
    other = next((family for family in arguments.families if family != "dense"), None)
    ratios = {
        task: statistics.mean(by_family[other]) / statistics.mean(by_family["dense"])
        for task, by_family in found.items()
        if other and "dense" in by_family
    }
    told = {name: getattr(arguments, name) for name in ("length", "chunk", "pairs", "memory_chunks", "width", "layers")}
    told |= {name: getattr(arguments, name) for name in ("heads", "steps", "batch", "rate", "seeds", "device")}
    summary = (
        {"mean": statistics.mean(ratios.values()), "worst": min(ratios, key=lambda t: ratios[t])} if ratios else {}
    )
    return {"settings": told, "accuracy": found, "ratio": ratios, **summary}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--families", nargs="+", choices=["longdoc", "dense"], default=["longdoc", "dense"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    for name, default in {
        "length": 256, "chunk": 32, "pairs": 16, "memory-chunks": 1, "width": 64, "layers": 2, "heads": 2,
        "steps": 2000, "batch": 8, "held-out": 1024, "threads": 1,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--gates", nargs="*", type=float, default=[])
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    arguments.dtype = torch.bfloat16 if arguments.bf16 else None
    torch.set_num_threads(arguments.threads)
    print(json.dumps(run(arguments)))


if __name__ == "__main__":
    main()
