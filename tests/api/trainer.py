"""A stand-in for a trainer: it speaks the protocol of docs/trainings.md and learns nothing.

Its configuration says what it does: ``steps``, ``seconds`` for each, and how it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def say(type_: str, **values: Any) -> None:
    """A line of the protocol."""
    print(json.dumps({"type": type_, **values}), flush=True)


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
    say("result", model="model", steps=step, rows=sum(d["version"] for d in job["datasets"]))


if __name__ == "__main__":
    main()
