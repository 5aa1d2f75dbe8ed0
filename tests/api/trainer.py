"""A stand-in for a trainer: it speaks the protocol of docs/trainings.md and learns nothing.

Its configuration says what it does: ``steps``, ``seconds`` for each, and how it ends.  Its model is a folder as the
bundled trainer writes it, with a text for weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def say(type_: str, **values: Any) -> None:
    """A line of the protocol."""
    print(json.dumps({"type": type_, **values}), flush=True)


def nested(depth: int) -> list[Any]:
    """Lists in lists."""
    return [nested(depth - 1)] if depth else []


def save(folder: Path, weights: str, job: dict[str, Any]) -> str:
    """A model; returns its digest."""
    folder.mkdir(exist_ok=True)
    facts = {"stage": "toy", "figures": {"loss": 0.5, "endless": math.inf}, "models": job["models"]}
    kind = job["config"].get("kind", "language")
    contents = {"model.safetensors": weights, "config.json": json.dumps({"kind": kind, "family": "abacus"}),
                "gristmill.json": json.dumps(facts)}  # fmt: skip
    files = {}
    for name, text in contents.items():
        (folder / name).write_text(text)
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        files[name] = {"bytes": len(text.encode()), "digest": f"blake2b:{digest}"}
    manifest = json.dumps({"files": files})
    (folder / "manifest.json").write_text(manifest)
    return "blake2b:" + hashlib.blake2b(manifest.encode(), digest_size=16).hexdigest()


def main() -> None:
    """Count steps, from where an earlier attempt ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True)
    job = json.loads(parser.parse_args().job.read_text())
    config, output = job["config"], Path(job["output"])
    if "steps" not in config:
        print("config: 'steps' is missing", file=sys.stderr)
        sys.exit(2)
    for name in config.get("must_not_see", []):
        assert name not in os.environ, name
    output.mkdir(exist_ok=True)
    state = output / "state"
    step = int(state.read_text()) if state.exists() else 0
    stopping = False

    def stop(*_: Any) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    for _ in range(config.get("noise", 0)):
        print("not a line of the protocol")
    while step < config["steps"]:
        step += 1
        time.sleep(config.get("seconds", 0.0))
        say("progress", done=step, total=config["steps"])
        say("metrics", step=step, loss=1 / step)
        if step == config.get("dies_at") and not (output / "died").exists():
            (output / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if stopping or step % 5 == 0:
            state.with_suffix(".tmp").write_text(str(step))
            state.with_suffix(".tmp").replace(state)
            say("checkpoint", step=step, path="state")
        if stopping:
            sys.exit(75)
    result = {"steps": step, "rows": sum(d.get("version", 0) for d in job["datasets"]), **config.get("says", {})}
    if config.get("odd"):
        result |= {"loss": math.nan, "text": "a\0b\ud800c", "deep": nested(70)}
    if job["task"] == "train":
        digest = save(output / "final", config.get("weights", "weights"), job)
        result = {"model": "final", "digest": digest, **result}
    else:
        lines = [json.dumps({"task": job["task"], "line": number}) for number in range(step)]
        (output / "responses.jsonl").write_text("".join(line + "\n" for line in lines))
    say("result", **result)
    if config.get("kills_driver") and not (output / "killed").exists():
        (output / "killed").touch()
        os.kill(os.getppid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
