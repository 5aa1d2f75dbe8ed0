"""The order of the steps, and each step by its name.  A task is a step and a part; where it runs is no matter."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from pipelines.deduplication import choose, copies, large, order, pairs, sets, verify
from pipelines.deduplication.work import Work

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


def phases(work: Work) -> Iterator[Phase]:
    """What is to be done for a deduplication; the last phase commits its decisions."""
    last = yield from search(work)
    yield Phase("writing decisions", f"decide-{last}", 1)


def search(work: Work) -> Generator[Phase, None, int]:
    """Find and prove all pairs, and choose who stays; returns the number of the last round."""
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
    batches = work.step("families", 0).facts["batches"]
    round_, settled = 0, False
    while not settled:
        if batches:
            yield Phase(f"comparing large buckets, round {round_ + 1}", f"leaders-{round_}", batches)
        yield Phase("choosing who stays", f"choose-{round_}", 1)
        settled = work.step(f"choose-{round_}", 0).facts["settled"]
        round_ += 1
    return round_ - 1


def perform(work: Work, step: str, part: int) -> None:
    """Do one task, unless its result is there."""
    name, _, round_ = step.partition("-")
    if name == "decide":
        if not work.decided:
            choose.run_decide(work, int(round_), work.decisions_writer())
        return
    if work.done(step, part):
        return
    if name == "leaders":
        large.run_leaders(work, int(round_), part)
    elif name == "choose":
        choose.run_choose(work, int(round_))
    else:
        STEPS[name](work, part)
