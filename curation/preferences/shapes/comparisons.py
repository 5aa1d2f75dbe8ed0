"""Records with two answers and the labels of judges."""

from __future__ import annotations

import re

from curation.errors import DocumentError
from curation.preferences.checked import checked_comparison
from curation.preferences.common import Fields, common_of
from curation.preferences.entries import Comparison, Votes
from curation.preferences.limits import Limits
from curation.preferences.shapes.alpaca_prompt import alpaca_prompt
from curation.preferences.shapes.base import Shape, carriers, has
from curation.preferences.sides import prompt_of, response_of, with_system
from curation.preferences.values import kind_of

_ANNOTATOR = re.compile(r"annotator[0-9]{1,3}")
_FIRST, _SECOND, _TIE = Votes(1, 0, 0), Votes(0, 1, 0), Votes(0, 0, 1)

_PANDALM = {0: _TIE, 1: _FIRST, 2: _SECOND}
_ALPACA_EVAL = {0: _TIE, 1: _FIRST, 1.5: _TIE, 2: _SECOND}
_AUTO_J = {0: _FIRST, 1: _SECOND, 2: _TIE}


def _vote(label: object, meanings: dict[int, Votes] | dict[float, Votes], where: str) -> Votes:
    """What a label means; ``unknown-label`` for any other value."""
    if isinstance(label, bool) or not isinstance(label, int | float):
        raise DocumentError("unknown-label", f"{where} is {kind_of(label)}")
    for known, vote in meanings.items():
        if label == known:
            return vote
    raise DocumentError("unknown-label", f"{where} is none of {', '.join(map(str, meanings))}")


def _is_pandalm(record: Fields) -> bool:
    return has(record, "response1", "response2", "annotator1") and carriers(record) == {"instruction"}


def _read_pandalm(record: Fields, limits: Limits) -> Comparison:
    names = [name for name in record if _ANNOTATOR.fullmatch(name)]
    votes = [_vote(record[name], _PANDALM, name) for name in names]
    total = Votes(sum(v.first for v in votes), sum(v.second for v in votes), sum(v.tie for v in votes))
    return _alpaca(record, "response1", "response2", total, limits)


def _is_alpaca_eval(record: Fields) -> bool:
    return has(record, "output_1", "output_2") and "preference" in record and carriers(record) == {"instruction"}


def _read_alpaca_eval(record: Fields, limits: Limits) -> Comparison:
    vote = _vote(record["preference"], _ALPACA_EVAL, "preference")
    return _alpaca(record, "output_1", "output_2", vote, limits)


def _alpaca(record: Fields, first: str, second: str, votes: Votes, limits: Limits) -> Comparison:
    return checked_comparison(
        alpaca_prompt(record, limits),
        response_of(record[first], first, limits),
        response_of(record[second], second, limits),
        votes,
        common_of(record, limits),
    )


def _is_auto_j(record: Fields) -> bool:
    return has(record, "response 1", "response 2") and "label" in record and carriers(record) == {"prompt"}


def _read_auto_j(record: Fields, limits: Limits) -> Comparison:
    prompt = with_system(record.get("system"), prompt_of(record["prompt"], "prompt", limits), limits)
    return checked_comparison(
        prompt,
        response_of(record["response 1"], "response 1", limits),
        response_of(record["response 2"], "response 2", limits),
        _vote(record["label"], _AUTO_J, "label"),
        common_of(record, limits),
    )


PANDALM = Shape("pandalm", "comparison", _is_pandalm, _read_pandalm)
ALPACA_EVAL = Shape("alpaca-eval", "comparison", _is_alpaca_eval, _read_alpaca_eval)
AUTO_J = Shape("auto-j", "comparison", _is_auto_j, _read_auto_j)

COMPARISON_SHAPES = (PANDALM, ALPACA_EVAL, AUTO_J)
