"""Forward passes of fixed shape, so that a document's score does not depend on its neighbours.

A matrix product may add up in another order when the number of its rows changes, and an attention kernel
when the padding does.  Scores of one document would then differ in their last bits with the documents it
happens to share a pass with, and a run that was cut otherwise would not give the same bytes.  So the shape
of a pass, and whether anything in it is padding, follow from the length of a document alone:

- the width is the next multiple of ``STEP`` above the length, at most ``max_tokens``;
- the height is what the token budget allows at that width, however many documents there are;
- documents that fill ``max_tokens`` entirely have passes of their own, without padding;
- where the budget has no room for two such rows, the width is the length itself, without padding.

A last pass that is not full repeats its documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# At most so many tokens of padding per document; a smaller step leaves more passes that are not full.
STEP = 32


@dataclass(frozen=True)
class Pass:
    """Documents of one forward pass.

    Attributes:
        documents: ``int64[count]``, rows of the window; ``1 <= count <= height``.
        height: rows of the pass.
        width: tokens of each row, padding included.
    """

    documents: np.ndarray
    height: int
    width: int

    @property
    def rows(self) -> np.ndarray:
        """``int64[height]``: the document in each row; documents repeat where there are too few."""
        return np.resize(self.documents, self.height)


def pack(lengths: np.ndarray, max_tokens: int, token_budget: int) -> Iterator[Pass]:
    """Sort the documents of a window by length and cut them into passes, longest first.

    Args:
        lengths: ``int64[n]``, tokens of each document, 1 to ``max_tokens``.
        max_tokens: greatest width.
        token_budget: greatest ``height * width`` of a pass; a pass has at least one row, whatever it costs.

    Yields:
        Passes that hold each document exactly once.
    """
    widths = np.minimum((lengths // STEP + 1) * STEP, max_tokens)
    widths = np.where(2 * widths > token_budget, lengths, widths)
    # Twice the width, and one more without padding: a number per kind of pass, by which to sort.
    kinds = 2 * widths + (lengths == widths)
    order = np.argsort(-kinds, kind="stable")
    found, starts = np.unique(-kinds[order], return_index=True)
    for kind, first, end in zip(-found, starts, [*starts[1:], len(order)], strict=False):
        group, width = order[first:end], int(kind) // 2
        height = max(1, token_budget // width)
        for start in range(0, len(group), height):
            yield Pass(group[start : start + height], height, width)
