"""Reading a document and answering: family A beside its dense twin with torch's attention and a cache.

    python benchmarks/documents.py [--lengths 2048 4096 8192 16384] [--batch 8] [--answer 256] [--repeats 3]

Both models have the same width, layers, heads and feed-forward; weights are fresh, which costs the same as trained ones
(nothing is skipped by the gate).  A run is a prefill of n tokens and ``answer`` steps of one token, greedy, for a whole
batch.  Runs of the two models take turns; figures are medians.  ``--dense-kv-heads`` gives the twin grouped queries.
Prints a table to standard error and one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import torch
from torch import nn

from trainer.models import build

SEED = 1


def models(arguments: argparse.Namespace) -> dict[str, nn.Module]:
    """Both, with fresh weights."""
    shape = {"vocab": arguments.vocab, "width": arguments.width, "layers": arguments.layers, "heads": arguments.heads}
    chunks = {"chunk": arguments.chunk, "pairs": arguments.pairs, "memory_chunks": arguments.memory_chunks}
    settings = {
        "longdoc": {"family": "longdoc", **shape, **chunks},
        "dense": {"family": "dense", **shape, "kv_heads": arguments.dense_kv_heads},
    }
    return {name: build(given, SEED).to(arguments.device, arguments.dtype).eval() for name, given in settings.items()}


@torch.no_grad()
def answer(model: nn.Module, tokens_BT: torch.Tensor, count: int, device: torch.device) -> tuple[float, float, int]:
    """Seconds of the prefill and of the answer, and bytes of the state."""
    began = _now(device)
    state = model.state(len(tokens_BT), device, model.embedding.weight.dtype, tokens_BT.shape[1] + count)
    last_BD = model.decode(tokens_BT, state)[:, -1]
    read = _now(device)
    for _ in range(count):
        next_B1 = model.logits(last_BD).argmax(-1, keepdim=True)
        last_BD = model.decode(next_B1, state)[:, -1]
    written = _now(device)
    size = len(tokens_BT) * model.config.cache_bytes(tokens_BT.shape[1] + count, state.dtype)
    return read - began, written - read, size


def _now(device: torch.device) -> float:
    """CPU seconds, which a busy machine disturbs least; on a GPU those of the wall."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def compare(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a length."""
    device, both = torch.device(arguments.device), models(arguments)
    generator = torch.Generator().manual_seed(SEED)
    rows = []
    for length in arguments.lengths:
        tokens_BT = torch.randint(arguments.vocab, (arguments.batch, length), generator=generator).to(device)
        found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in both}
        for model in both.values():
            answer(model, tokens_BT[:1], 2, device)  # warm up
        for _ in range(arguments.repeats):
            for name, model in both.items():
                found[name].append(answer(model, tokens_BT, arguments.answer, device))
        row: dict[str, Any] = {"length": length, "batch": arguments.batch, "answer": arguments.answer}
        for name, runs in found.items():
            row[name] = {
                "prefill_s": statistics.median(run[0] for run in runs),
                "answer_s": statistics.median(run[1] for run in runs),
                "total_s": statistics.median(run[0] + run[1] for run in runs),
                "state_mib": runs[0][2] / 2**20,
            }
        for part in ("prefill_s", "answer_s", "total_s"):
            row[f"ratio_{part[:-2]}"] = row["longdoc"][part] / row["dense"][part]
        rows.append(row)
        print(_line(row), file=sys.stderr, flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    ours, dense = row["longdoc"], row["dense"]
    return (
        f"n {row['length']:6,}: longdoc {ours['prefill_s']:7.2f} + {ours['answer_s']:6.2f} s, {ours['state_mib']:6.0f} "
        f"MiB; dense {dense['prefill_s']:7.2f} + {dense['answer_s']:6.2f} s, {dense['state_mib']:6.0f} MiB; "
        f"ratio {row['ratio_total']:.2f} (prefill {row['ratio_prefill']:.2f}, answer {row['ratio_answer']:.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", nargs="+", type=int, default=[2048, 4096, 8192, 16384])
    for name, default in {
        "batch": 8, "answer": 256, "repeats": 3, "width": 256, "layers": 6, "heads": 4, "vocab": 4096, "chunk": 512,
        "pairs": 16, "memory-chunks": 1, "threads": 1,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dense-kv-heads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()
    arguments.dtype = torch.bfloat16 if arguments.bf16 else torch.float32
    torch.set_num_threads(arguments.threads)
    told = {name: value for name, value in vars(arguments).items() if name != "dtype"}
    print(json.dumps({"settings": told, "rows": compare(arguments)}))


if __name__ == "__main__":
    main()
