"""The order of the steps, and each step by its name.  A task is a step and a part; where it runs is no matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.deduplication import choose, copies, large, order, pairs, sets, verify
from pipelines.deduplication.records import StepWriter
from pipelines.deduplication.work import Work
from pipelines.plan import Plan
from pipelines.storage import Storage

STEPS = {
    "keys": order.run_keys,
    "order": order.run_order,
    "copies": copies.run_copies,
    "prints": pairs.run_prints,
    "pairs": pairs.run_pairs,
    "merge": pairs.run_merge,
    "families": large.run_families,
    "sets": sets.run_sets,
    "verify": verify.run_verify,
}


@dataclass(frozen=True)
class Phase:
    """Tasks that do not wait for one another.

    Attributes:
        title: for people.
        step: its name.
        parts: how many tasks.
    """

    title: str
    step: str
    parts: int


def decisions_folder(plan: Plan) -> str:
    """Where the decisions of a plan lie."""
    return f"deduplication/{plan.deduplication_key()}"


def phases(plan: Plan, storage: Storage) -> Iterator[Phase]:
    """What is still to be done, phase by phase; each must be complete before the next is asked for."""
    if plan.recipe.recipe.deduplication is None:
        return
    folder = decisions_folder(plan)
    if storage.manifest(folder) is None:
        work = Work(plan, storage)
        yield Phase("sorting documents", "keys", work.shards)
        sizes = work.sizes
        yield Phase("numbering documents", "order", sizes.ranges)
        yield Phase("finding equal texts", "copies", sizes.partitions)
        yield Phase("writing fingerprints", "prints", work.shards)
        yield Phase("finding candidates", "pairs", sizes.partitions)
        yield Phase("merging candidates", "merge", sizes.blocks)
        yield Phase("joining large buckets", "families", 1)
        yield Phase("fetching texts", "sets", work.holders)
        yield Phase("proving candidates", "verify", sizes.blocks)
        yield from _rounds(work)
    # The steps have served; what a killed attempt left of them goes too.
    storage.delete_folders(folder)


def _rounds(work: Work) -> Iterator[Phase]:
    batches = work.step("families", 0).facts["batches"]
    round_, settled = 0, False
    while not settled:
        if batches:
            yield Phase(f"comparing large buckets, round {round_ + 1}", f"leaders-{round_}", batches)
        yield Phase("choosing who stays", f"choose-{round_}", 1)
        settled = work.step(f"choose-{round_}", 0).facts["settled"]
        round_ += 1
    yield Phase("writing decisions", f"decide-{round_ - 1}", 1)


def perform(plan: Plan, storage: Storage, step: str, part: int) -> None:
    """Do one task, unless its result is there."""
    work = Work(plan, storage)
    name, _, round_ = step.partition("-")
    if name == "decide":
        if storage.manifest(decisions_folder(plan)) is None:
            choose.run_decide(work, int(round_), StepWriter(storage, decisions_folder(plan)))
        return
    if work.done(step, part):
        return
    if name == "leaders":
        large.run_leaders(work, int(round_), part)
    elif name == "choose":
        choose.run_choose(work, int(round_))
    else:
        STEPS[name](work, part)
