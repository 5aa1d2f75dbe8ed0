"""The order of the steps of hygiene, and each step by its name."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.deduplication.steps import Phase, search
from pipelines.deduplication.work import Work
from pipelines.hygiene.clusters import run_clusters
from pipelines.hygiene.gather import run_gather
from pipelines.hygiene.judging import run_judge, run_weigh, tasks_of
from pipelines.hygiene.settle import run_settle

STEPS = {"clusters": None, "gather": run_gather, "weigh": run_weigh, "judge": run_judge, "settle": run_settle}


def phases(work: Work) -> Iterator[Phase]:
    """What is to be done; the last phase commits the decisions."""
    last = yield from search(work)
    yield Phase("joining prompts", f"clusters-{last}", 1)
    yield Phase("fetching answers", "gather", work.holders)
    yield Phase("sharing out prompts", "weigh", 1)
    yield Phase("comparing answers", "judge", len(tasks_of(work)) - 1)
    yield Phase("settling the set", "settle", 1)


def perform(work: Work, step: str, part: int) -> None:
    """Do one task, unless its result is there."""
    name, _, round_ = step.partition("-")
    if name == "settle":
        if not work.decided:
            run_settle(work, part)
    elif work.done(name, part):
        return
    elif name == "clusters":
        run_clusters(work, int(round_))
    else:
        run = STEPS[name]
        assert run is not None
        run(work, part)
