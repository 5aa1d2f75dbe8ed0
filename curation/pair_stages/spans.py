"""Where in a side of a pair or instruction the rules on answers find what they object to.

For people who look at one entry; see ``curation.rules.spans``.  Copies of the prompt, lengths and languages are of a
side as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curation.errors import InputError
from curation.pair_stages import flagged_words, prompt_leak, refusals
from curation.pair_stages.canonical import Entry, Side
from curation.pair_stages.sides import ANSWERS, JOIN, text_of
from curation.preferences.digests import normalised
from curation.rules.spans import Span


def entry_spans(
    stage: str, rule: str, entry: Entry, parameters: Mapping[str, Any], facts: Mapping[str, str]
) -> dict[Side, list[Span]] | None:
    """What a rule of ``refusals``, ``prompt-leak`` or ``flagged-words`` objects to, in code points of a side's text.

    Args:
        rule: as the stage names it, ``chosen-refuses``.
        parameters, facts: of the stage, as a run remembers them.

    Returns:
        Stretches by side; None for a rule about the whole side, and where the text cannot be searched: the list of
        words is gone or is another one now.
    """
    side, _, plain = rule.partition("-")
    if stage == "refusals":
        wanted = ANSWERS if rule == "both-refuse" else (side,)
        window = int(parameters.get("window", 200))
        return {one: _refusal(_side(entry, one), window) for one in wanted if one in entry}  # type: ignore[misc]
    if stage == "prompt-leak" and plain == "escaped":
        return {side: _all(prompt_leak._ESCAPED, _side(entry, side))}  # type: ignore[dict-item]
    if stage == "prompt-leak" and plain == "template-residue":
        return {side: _marks(entry, side)}  # type: ignore[dict-item]
    if stage == "flagged-words":
        words = {code: Path(path) for code, path in (parameters.get("words") or {}).items()}
        found = _flagged(_side(entry, side), words, facts)
        return None if found is None else {side: found}  # type: ignore[dict-item]
    return None


def _side(entry: Entry, side: str) -> str:
    return text_of(entry.get(side, ()))  # type: ignore[call-overload,no-any-return]


def _all(pattern: re.Pattern[str], text: str) -> list[Span]:
    return [found.span() for found in pattern.finditer(text)]


def _marks(entry: Entry, side: str) -> list[Span]:
    """Marks of templates that nobody speaks of; of a prompt, those in the assistant's turns."""
    asked = prompt_leak._said(entry.get("prompt", ()), "user", "system", "tool")
    found, at = [], 0
    for turn in entry.get(side, ()):  # type: ignore[call-overload]
        if side != "prompt" or turn.role == "assistant":
            marks = prompt_leak._marks().finditer(turn.content)
            found += [(at + m.start(), at + m.end()) for m in marks if m[0].rstrip(":") not in asked]
        elif turn.role == "user" and (last := prompt_leak._no_input().search(turn.content)):
            found.append((at + last.start() + 1, at + last.end()))
        at += len(turn.content) + len(JOIN)
    return found


def _refusal(text: str, window: int) -> list[Span]:
    """The phrases by which an answer declines, in its first characters."""
    said, places = folded(text[: 4 * window])
    beginning = said[:window].translate(refusals._APOSTROPHES)
    found = [match.span() for _, pattern in refusals._patterns() for match in pattern.finditer(beginning)]
    return sorted((places[start], places[stop - 1] + 1) for start, stop in found)


def _flagged(text: str, words: Mapping[str, Path], facts: Mapping[str, str]) -> list[Span] | None:
    try:
        lists = {code: flagged_words._read(path) for code, path in sorted(words.items())}
    except InputError:
        return None
    if any(facts.get(f"words.{code}") != digest for code, (digest, _) in lists.items()):
        return None
    pattern = flagged_words._pattern(tuple((code, listed) for code, (_, listed) in lists.items()))
    said, places = folded(text)
    matches: Iterator[re.Match[str]] = pattern.finditer(said) if pattern else iter(())
    return [(places[m.start()], places[m.end() - 1] + 1) for m in matches]


def folded(text: str) -> tuple[str, list[int]]:
    """The text as lists of words are matched against it, and the place in it that each character comes from.

    Each character by itself, so that a letter and its mark stay two: where that makes a difference, little is found.
    """
    said, places, blank = [], [], True
    for place, character in enumerate(text):
        if character.isspace():
            if not blank:
                said.append(" ")
                places.append(place)
            blank = True
            continue
        for one in normalised(character):
            said.append(one)
            places.append(place)
        blank = False
    if said and said[-1] == " ":
        said.pop()
        places.pop()
    return "".join(said), places
