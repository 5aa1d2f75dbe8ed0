"""Experts against a dense model at equal FLOPs a token: loss, load of the experts, recall of the predictor; as JSON.

    GRISTMILL_DATA=... python benchmarks/experts.py [--steps 2000] [--seeds 1 2 3] [--width 64] …

Bytes of real English and Chinese texts, in rows of one piece of text each.  One in twenty stretches of 16 rows is held
out.  Both models see the same rows in the same order under the same schedule, on one thread.  The dense model's
feed-forward is widened until its forward FLOPs a token are not fewer than the other's, router and predictors included
(at these widths they are a good part; in a wide model they are not).  Load and recall are of held-out text: the busiest
expert's share over the mean share, worst layer; train_load is that of the last tenth of the steps.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models import build, moe
from trainer.models.assistant import AssistantConfig
from trainer.models.dense import DenseConfig

FILES = ("abc-news-en", "gutenberg-en", "english-web-treebank", "c4-sample-en", "wikipedia-zh-hans", "chinanews-zh")


def rows(folder: Path, length: int) -> tuple[Tensor, Tensor]:
    """Shuffled pieces of ``length + 1`` bytes, for training and held out."""
    row, stretch = length + 1, 16 * (length + 1)
    train, held = bytearray(), bytearray()
    for name in FILES:
        with gzip.open(folder / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                text = json.loads(line)["text"].encode()
                for start in range(0, len(text) - length, stretch):
                    piece = text[start : start + stretch]
                    part = train if (number + start // stretch) % 20 else held
                    part += piece[: len(piece) // row * row]
    return shuffled(train, row), shuffled(held, row)


def shuffled(part: bytearray, row: int) -> Tensor:
    """Rows of bytes, in an order that is always the same."""
    rows = torch.frombuffer(part, dtype=torch.uint8).view(-1, row).long()
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]


def pair(given: argparse.Namespace) -> tuple[AssistantConfig, DenseConfig]:
    """The two configurations."""
    shape = {"vocab": 256, "width": given.width, "layers": given.layers, "heads": given.width // 16, "kv_heads": 2}
    sparse = AssistantConfig(**shape, **json.loads(given.config))
    aim, hidden = sparse.flops(given.length), sparse.expert_width
    while DenseConfig(**shape, hidden=hidden).flops(given.length) < aim:
        hidden += 1
    return sparse, DenseConfig(**shape, hidden=hidden)


def train(model: nn.Module, data: Tensor, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """AdamW, warm-up over a tenth, linear decay; figures of the last tenth."""
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=given.rate, betas=(0.9, 0.95))
    order = torch.Generator().manual_seed(seed)
    start, last, tally = time.process_time(), [], None
    for step in range(given.steps):
        if step == given.steps * 9 // 10:
            tally = Tally(model)
        warm, left = (step + 1) / (0.1 * given.steps), (given.steps - step) / given.steps
        for group in optimizer.param_groups:
            group["lr"] = given.rate * min(warm, left, 1.0)
        batch = data[torch.randint(len(data), (given.batch,), generator=order)]
        trunk = model(batch[:, :-1])
        loss = F.cross_entropy(model.logits(trunk.hidden_BTD).flatten(0, 1), batch[:, 1:].flatten())
        (loss + sum(trunk.losses.values())).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        last = [*last[-(given.steps // 10) :], loss.item()]
        if given.verbose and step % 50 == 0:
            figures = {name: round(float(value), 3) for name, value in (trunk.stats | trunk.losses).items()}
            print(step, round(loss.item(), 3), figures, file=sys.stderr, flush=True)
    seconds = time.process_time() - start
    return {"train_loss": sum(last) / len(last), "train_load": tally.close() if tally else [], "cpu_seconds": seconds}


class Tally:
    """Pairs of each expert (L, E), counted while the model runs."""

    def __init__(self, model: nn.Module) -> None:
        feeds = [block.feed for block in model.blocks if hasattr(block.feed, "route")]
        self.counts_LE = torch.zeros(len(feeds), model.config.experts if feeds else 1)
        self.hooks = [feed.register_forward_hook(self._counter(layer)) for layer, feed in enumerate(feeds)]

    def _counter(self, layer: int) -> Callable[..., None]:
        def count(module: nn.Module, given: Any, out: Any) -> None:
            self.counts_LE[layer] += out[1].experts_TK.flatten().bincount(minlength=self.counts_LE.shape[1])

        return count

    def close(self) -> list[float]:
        """The busiest expert's pairs over the mean, by layer."""
        for hook in self.hooks:
            hook.remove()
        return [round(load, 3) for load in (self.counts_LE.amax(1) / self.counts_LE.mean(1)).tolist()]


@torch.no_grad()
def judge(model: nn.Module, held: Tensor, batch: int) -> dict[str, Any]:
    """Loss on held-out text; load by layer over all of it, recall and dropped pairs."""
    tally, losses, recalls, dropped = Tally(model), [], [], 0
    for piece in held.split(batch):
        trunk = model(piece[:, :-1])
        losses.append(F.cross_entropy(model.logits(trunk.hidden_BTD).flatten(0, 1), piece[:, 1:].flatten()).item())
        if trunk.stats:
            recalls.append(trunk.stats["recall"].item())
            dropped += int(trunk.stats["dropped"])
    loss, load = sum(losses) / len(losses), tally.close()
    result: dict[str, Any] = {"loss": loss, "bits_per_byte": loss / math.log(2)}
    if load:
        result |= {"load": load, "load_worst": max(load), "dead": int((tally.counts_LE == 0).sum())}
        result |= {"dropped": dropped, "recall": sum(recalls) / len(recalls)}
    return result


@torch.no_grad()
def waiting(model: nn.Module, tokens_BT: Tensor) -> dict[str, float]:
    """Milliseconds that the experts of the last layer wait: router, choice and order; without and with a guess.

    The median of 15; the guess, made while other layers work, is not counted, and the router's product is in both.
    """
    inputs: list[Tensor] = []
    feed = model.blocks[-1].feed
    hook = feed.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    forecast = list(model.records(tokens_BT).values())[-1].forecast
    hook.remove()
    guess, times = moe.prepare(forecast.experts_NK), {}
    product = feed.router.gate.forward
    for name, function in (
        ("router's product", lambda: product(inputs[0])),
        ("without", lambda: feed.route(inputs[0])),
        ("with", lambda: feed.route(inputs[0], guess)),
    ):
        taken = []
        for _ in range(15):
            start = time.perf_counter()
            function()
            taken.append(1000 * (time.perf_counter() - start))
        times[name] = round(sorted(taken)[7], 3)
    return times


def measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both models for every seed."""
    torch.set_num_threads(1)
    data, held = rows(folder, given.length)
    held = held[: given.held // given.length]
    configs = dict(zip(("assistant", "dense"), pair(given), strict=True))
    runs: list[dict[str, Any]] = []
    for seed in given.seeds:
        for family in given.families:
            model = build({"family": family} | dataclasses.asdict(configs[family]), seed)
            trained = train(model, data, given, seed)
            runs.append({"family": family, "seed": seed} | trained | judge(model, held, given.batch))
            if family == "assistant":
                runs[-1]["milliseconds_waited"] = waiting(model, held[: 4 * given.batch, :-1])
            print(runs[-1], file=sys.stderr, flush=True)
    losses = {(run["family"], run["seed"]): run["loss"] for run in runs}
    wins = [
        losses["assistant", s] < losses["dense", s]
        for s in given.seeds
        if ("dense", s) in losses and ("assistant", s) in losses
    ]
    return {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "tokens": given.steps * given.batch * given.length,
        "held_tokens": held.shape[0] * given.length,
        "configs": {family: dataclasses.asdict(config) for family, config in configs.items()},
        "flops_per_token": {family: config.flops(given.length) // given.length for family, config in configs.items()},
        "parameters": {family: config.parameters() for family, config in configs.items()},
        "runs": runs,
        "assistant_wins": f"{sum(wins)}/{len(wins)}",
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16, help="rows")
    parser.add_argument("--length", type=int, default=256, help="bytes of a row")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=4e-3, help="highest learning rate")
    parser.add_argument("--held", type=int, default=800_000, help="held-out tokens")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--families", nargs="+", default=["assistant", "dense"])
    parser.add_argument("--config", default="{}", help="fields of the assistant's configuration, as JSON")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    folder = os.environ.get("GRISTMILL_DATA")
    if not folder:
        sys.exit("set GRISTMILL_DATA to a folder with text/")
    print(json.dumps(measured(given, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
