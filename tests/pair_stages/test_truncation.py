"""Signs that an answer was cut off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.pair_stages import Truncation
from curation.pair_stages.truncation import Signs, signs_of
from tests.pair_stages.build import batch_of, failing, instruction, pair, rows

NONE = Signs(False, False, False, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "The end.",
        "Is it? ",
        "它是这样的。",
        "“好。”",
        "He said “no.”",
        "(see below)",
        "**Bold end.**",
        "Wait…",
        "| a | b. |",
        "```python\nprint(1)\n```",
        "Code:\n```\nx = (\n```\n",
        "ไปที่นั่นแล้ว!",
    ],
)
def test_whole_texts(text: str) -> None:
    assert signs_of(text) == NONE


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("The capital is Par", Signs(True, False, False, False)),
        ("首都是北京", Signs(True, False, False, False)),
        ("We need the", Signs(True, False, False, True)),
        ("for example,", Signs(True, False, False, True)),
        ("包括以下几点：", Signs(True, False, False, True)),
        ("a cutting-", Signs(True, False, False, True)),
        ("Code:\n```python\nx = (", Signs(False, True, False, False)),
        ("She sang “Hallo", Signs(True, False, True, False)),
        ("如图（左.", Signs(False, False, True, False)),
        ("半角(开全角）。", NONE),
    ],
)
def test_cut_texts(text: str, signs: Signs) -> None:
    assert signs_of(text) == signs


def test_rules_and_columns() -> None:
    texts = [pair("p", "We need the", "Fine."), pair("p", "No mark", "Fine.")]
    stage = Truncation(Truncation.Parameters(max_truncation_signs=1))
    assert failing(stage, batch_of(texts)) == [["chosen-truncated"], []]
    assert failing(Truncation(Truncation.Parameters()), batch_of(texts)) == [[], []]
    assert rows(Truncation(Truncation.Parameters(sides=("response",))), batch_of([instruction("q", "and")])) == [
        {
            "response_unfinished": True,
            "response_open_fence": False,
            "response_open_brackets": False,
            "response_cut": True,
            "response_truncation_signs": 2,
        }
    ]


@given(st.text(st.sampled_from(list("ab .,-`\n|*(“”(）。我~#:")), max_size=60))
def test_never_fails_and_ignores_trailing_blanks(text: str) -> None:
    assert signs_of(text) == signs_of(text + " \n")


def test_hostile_texts() -> None:
    for text in ("`" * 500_000, "(" * 500_000, "\n```" * 100_000, "*" * 500_000, "\n" * 500_000 + "a"):
        signs_of(text)
