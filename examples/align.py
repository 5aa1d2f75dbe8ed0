"""From a crawl to aligned models of both families, by HTTP: a corpus, pretraining, tuning, a reward model, PPO, and
whether it was worth it.

    python examples/align.py OUTPUT [--crawl FOLDER] [--instructions FOLDER] [--preferences FOLDER] [--longer N]

Without folders of your own it takes the sample crawl and conversations about grain, in which half of the answers are
rude and people prefer the kind ones.  The models are far too small, and trained for far too short, to say anything of
sense about anything else.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from chats import write_chats
from models import HERE
from serve import serving

from api.client import Client

PAGES = {"name": "pages", "stages": [{"stage": "extraction"}, {"stage": "language", "keep": ["en", "zh"]}]}
HELD_OUT = {"held_out": {"share": 0.1}}
CHATS = {
    "name": "chats",
    "entries": {"kind": "instructions"},
    "stages": [{"stage": "instruction"}],
    "hygiene": HELD_OUT,
}
PAIRS = {"name": "pairs", "entries": {"kind": "preferences"}, "stages": [{"stage": "pair"}], "hygiene": HELD_OUT}
SHAPE = {"width": 96, "layers": 2, "heads": 4}
FAMILIES: dict[str, dict[str, Any]] = {
    "longdoc": {"family": "longdoc", **SHAPE, "chunk": 64, "pairs": 8, "levels": 10, "allow_beyond": ["chunk"]},
    "assistant": {"family": "assistant", **SHAPE, "kv_heads": 2, "experts": 96},
}
ROWS = {"tokens": 256, "rows": 8}


class Way:
    """One family's way.

    Args:
        client: of the service.
        family: of ``FAMILIES``.
        longer: by what all numbers of steps are multiplied.
    """

    def __init__(self, client: Client, family: str, longer: int) -> None:
        self.client, self.family, self.longer = client, family, longer

    def train(self, stage: str, dataset: str, steps: int, rate: float, models: list[str], **more: Any) -> Any:
        """Train ``FAMILY-STAGE`` on a dataset; its last figures."""
        optimizer, schedule = {"learning_rate": rate}, {"kind": "linear", "warmup": 0.05}
        loop = {"steps": steps * self.longer, "log_every": 10, "optimizer": optimizer, "schedule": schedule}
        config = {"stage": stage, "data": ROWS, "loop": loop, **more}
        name = f"{self.family}-{stage}"
        run = self.client.trainings.start(name, [dataset], config, models=models, model=name)
        return self._ended(run, f"{name} on {dataset}")

    def ask(self, task: str, models: list[str], datasets: list[str], config: dict[str, Any]) -> tuple[Any, str]:
        """Ask models something; what came out, and the evaluation's id."""
        run = self.client.evaluations.start(f"{self.family} {task}", task, models, datasets, config)
        return self._ended(run, f"{task} of {', '.join(models)}"), run["id"]

    def go(self) -> dict[str, Any]:
        """All stages, and what came of them."""
        base, tuned, reward, aligned = (f"{self.family}-{stage}" for stage in ("pretrain", "sft", "reward", "ppo"))
        found = {
            "pretrain": self.train(
                "pretrain", "pages", 150, 3e-3, [], model=FAMILIES[self.family], tokenizer={"kind": "bpe", "size": 2000}
            ),
            "sft": self.train("sft", "chats", 200, 2e-3, [base]),
            "reward": self.train("reward", "pairs", 40, 1e-3, [tuned]),
            "ppo": self.train("ppo", "pairs", 20, 3e-4, [tuned, f"reward={reward}"], policy=POLICY),
        }
        judged = {"evidence": "answers", "answers": {"first": 100, "sampling": {"new_tokens": 64}}}
        models = [f"a={tuned}", f"b={aligned}", f"reward={reward}"]
        found["compare"], _ = self.ask("compare", models, ["pairs"], judged)
        asked = {"first": 4, "sampling": {"new_tokens": 64, "temperature": 0}}
        for name in (tuned, aligned):
            _, run = self.ask("generate", [name], ["pairs"], asked)
            for row in self.client.evaluations.rows(run, "responses.jsonl"):
                print(f"     {row['asked'][-1]['content']!r:.60} → {row['text']!r:.100}")
        return found

    def _ended(self, run: Any, what: str) -> Any:
        began = time.monotonic()
        ended = self.client.runs.wait(run["id"])
        if ended["state"] != "succeeded":
            sys.exit(f"{what}: {ended['state']}, {ended['reason']}")
        figures = {name: value for name, value in ended["result"].items() if isinstance(value, float)}
        print(f"── {what}: {time.monotonic() - began:.0f} s", *(f"{n} {v:.4g}" for n, v in figures.items()), sep="  ")
        if "table" in ended["result"]:
            print(ended["result"]["table"])
        sys.stdout.flush()
        return ended["result"]


POLICY = {"prompts": 16, "samples": 4, "new_tokens": 48, "epochs": 2, "minibatches": 2, "kl": 0.1, "unfinished": 1.0}


def main() -> None:
    """Mill, train, align, compare; both families."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, nargs="?", default=Path("demo-output"))
    parser.add_argument("--crawl", type=Path, default=HERE / "crawl")
    for kind in ("instructions", "preferences"):
        parser.add_argument(f"--{kind}", type=Path)
    parser.add_argument("--longer", type=int, default=1, help="times as many steps of every stage")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the service ends, too
    chats = given.output / "chats"
    write_chats(chats)
    began = time.monotonic()
    with serving(given.output / "aligning") as client:
        for name, recipe, place in (
            ("pages", PAGES, given.crawl), ("chats", CHATS, given.instructions or chats / "instructions"),
            ("pairs", PAIRS, given.preferences or chats / "preferences"),
        ):  # fmt: skip
            mill(client, name, recipe, place)
        found = {family: Way(client, family, given.longer).go() for family in given.families}
    (given.output / "aligned.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(f"── {time.monotonic() - began:.0f} seconds; all figures are in {given.output / 'aligned.json'}")


def mill(client: Client, name: str, recipe: dict[str, Any], place: Path) -> None:
    """Publish what a folder or file holds as the dataset ``name``."""
    folder = place if place.is_dir() else place.parent
    client.sources.declare(name, str(folder.absolute()))
    path = "" if place.is_dir() else place.name
    run = client.runs.wait(client.runs.submit(recipe=recipe, inputs=[f"{name}:{path}"], publish=name)["id"])
    if run["state"] != "succeeded":
        sys.exit(f"{name}: {run['state']}, {run['reason']}")
    print(f"── {name}: {run['result']['records']}", flush=True)


if __name__ == "__main__":
    main()
