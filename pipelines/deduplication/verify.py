"""The proof: of the candidate pairs of one block, those whose exact similarity is above the threshold.

Equal texts never come here, they are one document.  A pair goes by the sizes of its sets, then by its signatures
where these make it all but sure, and what is left is counted in integers.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from curation.duplicates.bands import agreements, least_agreement
from curation.duplicates.jaccard import Edges, verified
from pipelines.deduplication.records import Step, records
from pipelines.deduplication.sets import Sketches, blocks_of
from pipelines.deduplication.work import Work

EDGE = np.dtype([("left", "<u4"), ("right", "<u4"), ("intersection", "<u4"), ("union", "<u4")])


def run_verify(work: Work, block: int) -> None:
    """Compare the pairs of one block."""
    merged = work.step("merge", block)
    pairs = merged.read("pairs", 0)
    left, right = (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64), (pairs >> np.uint64(32)).astype(np.int64)
    numbers = np.unique(np.concatenate([left, right]))
    sketches = Sketches(work, numbers, merged)
    left, right = np.searchsorted(numbers, left), np.searchsorted(numbers, right)
    possible = _sizes_allow(sketches.sizes[left], sketches.sizes[right], work.threshold)
    left, right = left[possible], right[possible]
    least = least_agreement(work.threshold, work.bands.permutations)
    likely = agreements(sketches.minima(), left, right) >= least if len(left) else np.empty(0, bool)
    left, right = left[likely], right[likely]
    found = [np.empty(0, EDGE)]
    # Sets of 8 bytes a shingle, which are copied twice on their way.
    for part in blocks_of(sketches.sizes[left] + sketches.sizes[right], work.memory // 64):
        rows = np.unique(np.concatenate([left[part], right[part]]))
        first, second = np.searchsorted(rows, left[part]), np.searchsorted(rows, right[part])
        edges = verified(sketches.sets(rows), first, second, work.threshold)
        found.append(edge_records(edges, numbers[rows]))
    writer = work.writer("verify", block)
    writer.write("edges", EDGE, [np.concatenate(found)])
    writer.commit(pairs=len(pairs), possible=int(possible.sum()), likely=len(left))


def edge_records(edges: Edges, numbers: np.ndarray) -> np.ndarray:
    """Edges between places, as records with the documents' numbers."""
    return records(
        EDGE, left=numbers[edges.left], right=numbers[edges.right],
        intersection=edges.intersection, union=edges.union,
    )  # fmt: skip


def edges_of(steps: list[Step]) -> Edges:
    """All edges of some steps, by the documents' numbers."""
    whole = np.concatenate([np.empty(0, EDGE), *(step.read("edges", 0) for step in steps)])
    left, right = whole["left"].astype(np.int64), whole["right"].astype(np.int64)
    return Edges(left, right, whole["intersection"].astype(np.int32), whole["union"].astype(np.int32))


def _sizes_allow(first: np.ndarray, second: np.ndarray, threshold: Fraction) -> np.ndarray:
    """Whether sets of these sizes can be above the threshold: the smaller would have to lie in the larger."""
    smaller, larger = np.minimum(first, second), np.maximum(first, second)
    allowed: np.ndarray = smaller * threshold.denominator > larger * threshold.numerator
    return allowed
