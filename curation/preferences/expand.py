"""From rankings and votes to pairs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, assert_never

from curation.preferences.digests import ranking_digest
from curation.preferences.entries import Comparison, Pair, Ranking

Expand = Literal["all", "adjacent", "best-worst"]


def pairs_of(entry: Pair | Ranking | Comparison, expand: Expand = "all", ranking_id: str | None = None) -> list[Pair]:
    """The pairs that an entry stands for, better answers first.

    Args:
        expand: which pairs of a ranking: all of them, those of neighbouring levels, or one of the first of the
            best and the last of the worst answers.  Answers of the same score are one level and no pair.
        ranking_id: what pairs of a ranking are marked with; a digest of its content where not given.

    Returns:
        One pair for a pair, none for a tie.
    """
    if isinstance(entry, Pair):
        return [entry]
    if isinstance(entry, Comparison):
        return _voted(entry)
    identity = ranking_id if ranking_id is not None else ranking_digest(entry)
    common = entry.common
    return [
        Pair(entry.prompt, entry.responses[better], entry.responses[worse], margin, identity, **common)
        for better, worse, margin in _ranked(entry, expand)
    ]


def _voted(entry: Comparison) -> list[Pair]:
    """Margin: share of the judges that chose the winner; none where there is one judge, who did not say."""
    votes = entry.votes
    if votes.winner == 0:
        return []
    chosen, rejected, won = (
        (entry.first, entry.second, votes.first) if votes.winner == 1 else (entry.second, entry.first, votes.second)
    )
    margin = won / votes.count if votes.count > 1 else None
    return [Pair(entry.prompt, chosen, rejected, margin, **entry.common)]


def _ranked(entry: Ranking, expand: Expand) -> Iterator[tuple[int, int, float]]:
    """Places of the better and the worse answer, and the difference of their scores or ranks."""
    # Where answers are only ranked, the first has the highest score.
    scores = entry.scores or tuple(float(-rank) for rank in range(len(entry.responses)))
    levels = _levels(scores)
    if expand == "all":
        chosen = [(a, b) for i, upper in enumerate(levels) for a in upper for lower in levels[i + 1 :] for b in lower]
    elif expand == "adjacent":
        chosen = [(a, b) for upper, lower in pairwise(levels) for a in upper for b in lower]
    elif expand == "best-worst":
        chosen = [(levels[0][0], levels[-1][-1])] if len(levels) > 1 else []
    else:
        assert_never(expand)
    for better, worse in chosen:
        yield better, worse, scores[better] - scores[worse]


def _levels(scores: tuple[float, ...]) -> list[list[int]]:
    """Places of answers by score, best first; those of one score in the order in which they came."""
    levels: dict[float, list[int]] = {}
    for place in sorted(range(len(scores)), key=lambda place: -scores[place]):
        levels.setdefault(scores[place], []).append(place)
    return list(levels.values())
