"""What a change does to duplicates, decided again from the pairs that the run proved.

Let E be the pairs above the threshold that share a band fingerprint.  Whatever documents there are, a run keeps what
the greedy pass over E keeps, each exact copy behind the first of its text (:mod:`curation.duplicates.candidates`).
E is a matter of two texts alone.  So without the documents that leave, a run decides by the pairs of E among those
that remain, in the same order; and this is what happens here:

* A document that goes takes its pairs with it, unless it has exact copies: the pairs of one are those of all, and the
  first copy that remains stands for them, at its own place in the order.
* Documents of earlier corpora stay and come first.
* Only where a *kept* document goes can anything change: one that was not kept had removed nobody.  And nothing changes
  but in the component of such a document, as joined by pairs, copies and families.

The run stored all pairs of E, with one exception.  Documents of large buckets were compared with those before them
that were kept, and with no others.  Joined where they share a large bucket, they make families.  So a pair of E may be
missing just if both documents belong to one family and the first of them, in the run's own order, was not kept.  (A
copy that stands for its text may come later in the order than the first one did: what was compared is a matter of
where that one stood.)  Hence three values, by induction over the order:

* *Removed*: a known pair joins it with a document before it that is surely kept.
* *Kept*: every document before it with which it may be a pair is surely removed: all known partners, and all of its
  family whose pair with it may be missing.
* *Undetermined*: neither.  A known partner before it is undetermined, or one of its family that may be its partner
  without anybody knowing is kept or undetermined: one of the two had been a duplicate and now may stay.

Nothing is undetermined outside of families, nor in a family whose duplicates all remain duplicates.  The copies of an
undetermined document go in any case; they are called exact copies of it.

One thing escapes: a pair that large buckets alone brought together was not held against its signatures, which reject
fewer than one in 100,000 of the pairs at the threshold.  Should its bucket become a small one, a run might lose it.
"""

from __future__ import annotations

import numpy as np

from pipelines.what_if.codes import Codes
from pipelines.what_if.evidence import Evidence
from pipelines.what_if.greedy import KEPT, REMOVED, Families, keep_again


def settle_duplicates(evidence: Evidence, before: np.ndarray, after: np.ndarray, codes: Codes) -> None:
    """Decide again about the components of kept documents that go.

    Args:
        before: code of each record.
        after: codes by which documents went or stay, duplicates as the run had them; changed in place.
    """
    documents = _shaken(evidence, before, after, codes)
    if not len(documents):
        return
    count, rows = len(documents), evidence.rows[documents]
    place = np.full(len(evidence.rows), -1)
    place[documents] = np.arange(count)
    head, own = place[evidence.head[documents]], rows >= 0
    left = np.flatnonzero(~own | codes.are_left(after[rows]))
    first = np.full(count, -1)  # that is left of each head's copies
    first[head[left[::-1]]] = left[::-1]
    heads = np.flatnonzero(first >= 0)
    heads = heads[np.argsort(first[heads])]
    number = np.full(count, -1)  # of each head, in the order of those that stand for its text now
    number[heads] = np.arange(len(heads))
    state = keep_again(
        *_pairs(evidence, place, number[head]),
        pinned=~own[heads],
        families=Families(evidence.family[documents[heads]], heads, ~own[heads] | (before[rows[heads]] == codes.kept)),
    )
    asked = left[own[left]]
    found = state[number[head[asked]]]
    leads = np.where(found == KEPT, codes.kept, codes.unknown)
    stays = np.where(first[head[asked]] == asked, leads, codes.exact)
    after[rows[asked]] = np.where(found == REMOVED, codes.near, stays)


def _shaken(evidence: Evidence, before: np.ndarray, after: np.ndarray, codes: Codes) -> np.ndarray:
    """Documents of components that lose a kept one, rising."""
    own = np.flatnonzero(evidence.rows >= 0)
    rows = evidence.rows[own]
    gone = own[(before[rows] == codes.kept) & ~codes.are_left(after[rows])]
    shaken = np.zeros(len(evidence.rows), bool)
    shaken[evidence.component[gone]] = True
    return np.flatnonzero(shaken[evidence.component])


def _pairs(evidence: Evidence, place: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs among what is left, by the numbers of their texts, the earlier one first."""
    inside = np.flatnonzero(place[evidence.right] >= 0)
    left, right = (number[place[side[inside]]] for side in (evidence.left, evidence.right))
    there = (left >= 0) & (right >= 0)
    return np.minimum(left, right)[there], np.maximum(left, right)[there]
