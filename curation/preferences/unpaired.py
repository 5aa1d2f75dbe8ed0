"""Single rated answers, paired where the same prompt has a good and a bad one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from curation.preferences.entries import Common, Pair, Unpaired


class Paired(NamedTuple):
    """Pairs, and the answers that are in none; pairs times two and answers left are all that was given."""

    pairs: list[Pair]
    left: list[Unpaired]


def pair_unpaired(entries: Iterable[Unpaired]) -> Paired:
    """Pair the first good with the first bad answer to a prompt, the second with the second, and so on.

    Prompts are the same where their turns are, to the character, and tools, source, language and licence too.
    No answer is in two pairs.  A pair's id is ``GOOD+BAD`` where both have ids.
    """
    groups: dict[object, tuple[list[Unpaired], list[Unpaired]]] = {}
    for entry in entries:
        key = (entry.prompt, entry.tools, entry.source, entry.language, entry.license)
        groups.setdefault(key, ([], []))[0 if entry.good else 1].append(entry)
    pairs: list[Pair] = []
    left: list[Unpaired] = []
    for good, bad in groups.values():
        pairs += [pair_answers(one, other) for one, other in zip(good, bad, strict=False)]
        left += good[len(bad) :] + bad[len(good) :]
    return Paired(pairs, left)


def pair_answers(one: Unpaired, other: Unpaired) -> Pair:
    """The pair of a good and a bad answer to the same prompt, in whichever order they come."""
    good, bad = (one, other) if one.good else (other, one)
    common: Common = good.common
    both = good.source_id is not None and bad.source_id is not None
    common["source_id"] = f"{good.source_id}+{bad.source_id}" if both else None
    return Pair(good.prompt, good.response, bad.response, **common)
