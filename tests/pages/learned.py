"""A service with trainings, models and evaluations in it, for tests of pages: written down, without a trainer."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import update

from api.models.store import MODELS, register
from api.runs import store
from api.store.tables import model_inputs, runs
from tests.pages.finished import Mill

CONFIG = {"stage": "pretrain", "loop": {"steps": 3000, "optimizer": {"learning_rate": 0.002}}}


@dataclass
class Learned:
    """Ids of runs.

    Attributes:
        base: a training that has ended, version 1 of the model ``base``; of 3,000 steps, with a spike and one NaN.
        tuned: PPO that goes on from it, version 1 of ``tuned``.
        working: a training that is at work.
        verdict: a comparison of both models.
        answers: a generation with its file.
    """

    mill: Mill
    base: str
    tuned: str
    working: str
    verdict: str
    answers: str


def learned(mill: Mill, word: str = "") -> Learned:
    """All of it.

    Args:
        word: stands in every text, to see what becomes of it.
    """
    base = _run(mill, "training", f"base {word}", {**CONFIG, "note": word}, [])
    points: list[dict[str, Any]] = [
        {"step": n, "loss": 10 / math.sqrt(n) + 0.01 * math.sin(n), "learning_rate": 0.002 * min(1, n / 60),
         "per_second": 1000.0 + n % 7, "memory_bytes": 2.0**30, "odd_figure": n * 2, word or "other": n}
        for n in range(1, 3001)
    ]  # fmt: skip
    points[1233]["loss"] = 77.0
    points[1999] = {"step": 2000, "loss": "nan", "gradient_norm": word or "inf"}
    points.insert(2900, {"step": 2900, "held_out_loss": 11 / math.sqrt(2900)})
    points.append({"step": 3000, "held_out_loss": 11 / math.sqrt(3000)})
    _say(mill, base, points)
    _made(mill, base, "base", {"held_out_loss": 0.2, "text": word}, "dense", "pretrain")
    given = [("base", 1, "start")]
    tuned = _run(mill, "training", f"tuned {word}", {"stage": "ppo", "loop": {"steps": 100}}, given)
    _say(mill, tuned, [
        {"step": n, "reward": n / 50, "kl": n / 80, "entropy": 3 - n / 60, "clip_share": 0.1, "loss": 1.0,
         **({"win_rate": 0.5 + n / 300} if n % 10 == 0 else {})}
        for n in range(1, 101)
    ])  # fmt: skip
    _made(mill, tuned, "tuned", {"win_rate": 0.83}, "dense", "ppo")
    working = _run(mill, "training", f"working {word}", CONFIG, [], ended=False)
    _say(mill, working, points[:20])
    both = [("base", 1, "a"), ("tuned", 1, "b")]
    verdict = _run(mill, "evaluation", f"which {word}", {"evidence": "loss"}, both)
    result = {"verdict": "A", "why": f"A is better {word}", "samples": 400, "mean": 0.03, "costs": {"a": 1.0, "b": 2.0},
              "table": f"verdict: A {word}\n400 pairs"}  # fmt: skip
    _ended(mill, verdict, result)
    answers = _run(mill, "evaluation", f"answers {word}", {"first": 30}, [("tuned", 1, "model")])
    lines = [{"prompt": f"What is {n}? {word}", "answer": f"{n} {word}", "tokens": n, "more": {"x": [word]}}
             for n in range(30)]  # fmt: skip
    folder = Path(_output(mill, answers)) / "output"
    folder.mkdir(parents=True)
    (folder / "responses.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _ended(mill, answers, {"answers": 30})
    return Learned(mill, base, tuned, working, verdict, answers)


def _run(
    mill: Mill, kind: str, name: str, config: dict[str, Any], models: list[tuple[str, int, str]], ended: bool = True
) -> str:  # fmt: skip
    database = mill.database
    with database.write() as connection:
        display: list[dict[str, Any]] = [{"source": "web", "path": "version 1"}]
        display += [{"source": m, "path": f"version {n}", "role": role} for m, n, role in models]
        request = {
            "task": "train", "datasets": [{"name": "web", "version": 1, "role": "corpus", "manifest_digest": "x"}],
            "models": [{"name": m, "version": n, "role": role} for m, n, role in models], "config": config,
            "model": name, "display": display,
        }  # fmt: skip
        new = store.NewRun(kind, name, request, str(mill.folder / "runs"), "test")
        run_id = str(store.submit(connection, new, database.now(connection))["id"])
        if not ended:
            state = {"state": "running", "progress": {"done": 20, "total": 3000, "phase": "pretrain"}}
            connection.execute(update(runs).where(runs.c.id == run_id).values(**state))
        for m, n, role in models:
            found = MODELS.find(connection, m, str(n)).thing
            values = {"run_id": run_id, "model_id": found["id"], "number": n, "role": role}
            connection.execute(model_inputs.insert().values(**values))
    return run_id


def _output(mill: Mill, run_id: str) -> str:
    with mill.database.read() as connection:
        return str(store.find(connection, run_id)["output"])


def _say(mill: Mill, run_id: str, points: list[dict[str, Any]], epoch: int = 1) -> None:
    with mill.database.write() as connection:
        now = mill.database.now(connection)
        for at in range(0, len(points), 40):
            store.emit(connection, run_id, "training.metrics", "test", now, {"points": points[at : at + 40]}, epoch)
        last = {"step": points[-1]["step"], "path": "checkpoints/last"}
        store.emit(connection, run_id, "training.checkpoint", "test", now, last, epoch)


def _ended(mill: Mill, run_id: str, result: dict[str, Any]) -> None:
    with mill.database.write() as connection:
        now = mill.database.now(connection)
        values = {"state": "succeeded", "result": result, "started_at": now, "finished_at": now}
        connection.execute(update(runs).where(runs.c.id == run_id).values(**values))


def _made(mill: Mill, run_id: str, model: str, figures: dict[str, Any], family: str, stage: str) -> None:
    """A model's folder, and its version."""
    folder = Path(_output(mill, run_id)) / "model" / "final"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("weights")
    digest = hashlib.blake2b(b"weights", digest_size=16).hexdigest()
    manifest = json.dumps({"files": {"model.safetensors": {"bytes": 7, "digest": f"blake2b:{digest}"}}})
    (folder / "manifest.json").write_text(manifest)
    trained = {
        "folder": "model/final", "digest": "blake2b:" + hashlib.blake2b(manifest.encode(), digest_size=16).hexdigest(),
        "kind": "language", "family": family, "stage": stage, "figures": figures,
    }  # fmt: skip
    _ended(mill, run_id, {"model": "final", **{k: v for k, v in figures.items() if k != "text"}})
    with mill.database.write() as connection:
        run = dict(store.find(connection, run_id))
        run["request"] = {**run["request"], "model": model}
        register(connection, run, trained, mill.database.now(connection))  # type: ignore[arg-type]
