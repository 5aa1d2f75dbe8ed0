"""What a job may ask for.  A task is a module with ``Config``, a checked dataclass, and ``run(job, config)``.

What ``run`` gives is the result of the job: small, plain data.  Tasks are imported when they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from trainer.errors import ConfigError
from trainer.job import Job
from trainer.ranges import suggestion

TASKS = {
    "compare": "trainer.tasks.compare",
    "cost": "trainer.tasks.cost",
    "export": "trainer.tasks.export",
    "generate": "trainer.tasks.generate",
    "import": "trainer.tasks.import_",
    "perplexity": "trainer.tasks.perplexity",
    "train": "trainer.tasks.train",
    "win_rate": "trainer.tasks.win_rate",
}


class Task(Protocol):
    """A module of this package."""

    Config: type

    @staticmethod
    def run(job: Job, config: Any) -> Mapping[str, Any]:
        """Do it."""


def find(name: str) -> Task:
    """The task of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TASKS:
        raise ConfigError("/task", f"{name!r} is none of {', '.join(TASKS)}{suggestion(name, list(TASKS))}")
    return cast(Task, import_module(TASKS[name]))
