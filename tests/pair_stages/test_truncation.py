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
        '<a href="https://mill.org">Link</a>',
        "<p>We need the</p>",
        "_In italics._",
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
        ("Signed by both.\nDate: ____", Signs(True, False, False, False)),
        ("Is there anything I can help you with", Signs(True, False, False, False)),
        ("Somebody to look up to", Signs(True, False, False, False)),
        ("a cause to be proud of", Signs(True, False, False, False)),
        ("See you all there.\n\nBest,", Signs(True, False, False, False)),
        ("亲爱的乔，\n玩得开心！\n\n最好的，", Signs(True, False, False, False)),
        ("Name: \nNotes: \nAttachments:", Signs(True, False, False, False)),
        ("with tiles numbered from 1 to", Signs(True, False, False, True)),
        ("I would like to", Signs(True, False, False, True)),
        ("Would you like to hear any of", Signs(True, False, False, True)),
        ("The test is over.  And", Signs(True, False, False, True)),
        ("the answer is A", Signs(True, False, False, False)),
    ],
)
def test_cut_texts(text: str, signs: Signs) -> None:
    assert signs_of(text) == signs


def test_rules_and_columns() -> None:
    cut = "For this we need the"
    texts = [pair("p", cut, "Fine."), pair("p", "No mark at the end", "Fine."), pair("p", "Fine.", cut)]
    stage = Truncation(Truncation.Parameters(max_truncation_signs=1))
    assert failing(stage, batch_of(texts)) == [["chosen-truncated"], [], []]
    other = Truncation(Truncation.Parameters(max_rejected_truncation_signs=1))
    assert failing(other, batch_of(texts)) == [[], [], ["rejected-truncated"]]
    assert failing(Truncation(Truncation.Parameters()), batch_of(texts)) == [[], [], []]
    stage = Truncation(Truncation.Parameters(sides=("response",), min_words=1))
    assert rows(stage, batch_of([instruction("q", "and")])) == [
        {
            "response_unfinished": True,
            "response_open_fence": False,
            "response_open_brackets": False,
            "response_cut": True,
            "response_truncation_signs": 2,
        }
    ]


@pytest.mark.parametrize("text", ["the", "a", "Furthermore,", "Dear Dr. Smith,", ":-("])
def test_a_few_words_are_no_cut_text(text: str) -> None:
    stage = Truncation(Truncation.Parameters(sides=("response",), max_truncation_signs=0))
    (row,) = rows(stage, batch_of([instruction("Which word is an article?", text)]))
    assert row["response_truncation_signs"] is None and row["response_unfinished"]


@given(st.text(st.sampled_from(list("ab .,-`\n|*(“”(）。我~#:")), max_size=60))
def test_never_fails_and_ignores_trailing_blanks(text: str) -> None:
    assert signs_of(text) == signs_of(text + " \n")


def test_hostile_texts() -> None:
    for unit in ("`", "(", "\n```", "*", "\n", "_", "a_", "<", ":\n", "\na", "* "):
        signs_of(unit * 300_000)
        signs_of(unit * 300_000 + "a")
        signs_of("a" + unit * 300_000 + ",")
