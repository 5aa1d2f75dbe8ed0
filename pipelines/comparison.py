"""The steps after milling: how what is left of all shards is compared, deduplication or hygiene."""

from __future__ import annotations

from collections.abc import Iterator

import pipelines.deduplication.steps as deduplication
import pipelines.hygiene.steps as hygiene
from pipelines.deduplication.steps import Phase
from pipelines.deduplication.work import Work, decisions_folder
from pipelines.plan import Plan
from pipelines.storage import Storage


def phases(plan: Plan, storage: Storage) -> Iterator[Phase]:
    """What is still to be done, phase by phase; each must be complete before the next is asked for."""
    recipe = plan.recipe.recipe
    if recipe.comparison is None:
        return
    work = Work(plan, storage)
    if not work.decided:
        yield from hygiene.phases(work) if recipe.hygiene else deduplication.phases(work)
    # The steps have served; what a killed attempt left of them goes too.
    storage.delete_folders(decisions_folder(plan))


def perform(plan: Plan, storage: Storage, step: str, part: int) -> None:
    """Do one task, unless its result is there."""
    work = Work(plan, storage)
    if step.partition("-")[0] in hygiene.STEPS:
        hygiene.perform(work, step, part)
    else:
        deduplication.perform(work, step, part)
