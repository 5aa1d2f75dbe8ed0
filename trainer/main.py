"""``gristmill-trainer --job FILE``: one job, whoever started it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.config import from_dict
from trainer.errors import TrainerError
from trainer.job import Job, read_job_file
from trainer.launch.world import check_alone
from trainer.tasks import find
from trainer.train.loop import Stopped
from trainer.train.metrics import Voice

REFUSED, STOPPED = 2, 75  # exit codes; docs/trainings.md


def main(arguments: list[str] | None = None) -> int:
    """Do a job; returns the exit code."""
    parser = argparse.ArgumentParser(prog="gristmill-trainer", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="JSON: task, datasets, models, config, output")
    given = parser.parse_args(arguments)
    try:
        check_alone()
        run(read_job_file(given.job))
    except Stopped:
        return STOPPED
    except TrainerError as error:
        print(f"gristmill-trainer: {error}", file=sys.stderr)
        return REFUSED
    return 0


def run(job: Job) -> Mapping[str, Any]:
    """Do a job: what came out is returned, said, and written to ``result.json``.

    Raises:
        TrainerError: it cannot be done.
        Stopped: somebody asked to end; what was done is saved.
    """
    task = find(job.task)
    result = dict(task.run(job, from_dict(task.Config, job.config, "/config")))
    job.output.mkdir(parents=True, exist_ok=True)
    partial = job.output / "result.json.partial"
    with partial.open("w") as out:
        json.dump(result, out, indent=1, ensure_ascii=False)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    partial.rename(job.output / "result.json")
    Voice(None).say("result", task=job.task, **result)
    return result


if __name__ == "__main__":
    sys.exit(main())
