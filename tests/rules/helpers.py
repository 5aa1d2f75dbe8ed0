"""What the tests of the rules share: batches, measures as dictionaries, and texts to try."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from curation.batch import Batch
from curation.stage import Measured, Stage, decide

LANGUAGES = ("en", "zh", "und", "th", "de")

_WORDS = """
the of and with have that be to Hello world It's don't can't've y'all I'm dog's Mr. e.g. U.S.A. a. co. 5pm 10a.m.
1 8 12 2020 3.5 1,000 10km 5% $5 US$7 4€ 10.0.0.1 8.8.8.8:80/x www.example.com http://a.bc/d?e a@b.cd x=y 3-4
and/or well-known a--b a---b a----b done.Then (8) :) :-( >.< o.O <3 ^_^ ¯\\(ツ)/¯ -_- 8) :'( x:) ')
naïve É ß Ж жук ١٢ ก ไทย ประเทศ ລາວ ខ្មែរ မြန်မာ 日 本 語 日本語 的 是 的是 かな カナ ー 😀 🥲 ™ ° °C. ² ½
. , ; : ! ?
... .. …… … ' " ’ “ ” ’s 's ( ) [ ] { } < > - – — -- * # _ & % + = / \\ ~ ^ | @ § • 。 ， ！ ？ 「 」 （ ） ：
[1] [12] [edit] [] [x] [١] JavaScript 使用条款
"""
_FRAGMENTS = [
    *_WORDS.split(),
    "[citation needed]",
    "lorem ipsum",
    "Lorem Ipsum",
    "Privacy Policy",
    "uses coo\u212aies",
    "x" * 1001,
    "字" * 30,
    "\u200b",
    "\u00ad",
    "a\u0301",
    "ก\u0e49",
    "\ufe0f",
]
_BLANKS = [
    " ",
    " ",
    " ",
    "",
    "  ",
    "\n",
    "\n",
    "\n\n",
    "\n\n\n",
    "\r\n",
    "\t",
    "\u00a0",
    "\u2028",
    "\u3000",
    "\x1c",
    "\x85",
]
_LINES = [
    "The end is near.",
    "To be or not to be.",
    "- item",
    "• item",
    "and so on...",
    "Fine…",
    "我们在这里。",
    "x",
    "",
]

_runs = st.lists(st.tuples(st.sampled_from(_FRAGMENTS), st.sampled_from(_BLANKS)), max_size=40).map(
    lambda pairs: "".join(fragment + blank for fragment, blank in pairs)
)
_repetitive = st.lists(st.sampled_from([*_LINES, "a b a b c", "a aa a aa a a a"]), max_size=25).map("\n".join)
_characters = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_small = st.text(st.sampled_from(list("ab1.,-'’:)( \n日ก\u0e49。")), max_size=60)


def texts() -> st.SearchStrategy[str]:
    """Texts of mixed scripts, with lines, repetitions, punctuation and odd white space."""
    return st.one_of(_runs, _repetitive, _characters, _small, st.tuples(_runs, _repetitive).map("\n".join))


def batch_of(texts: list[str], languages: list[str]) -> Batch:
    return Batch(pa.table({"text": pa.array(texts, pa.large_string()), "language": languages}))


def measured(stage: Stage, texts: list[str], languages: list[str]) -> tuple[Measured, list[dict[str, Any]]]:
    """The result of a stage, and its columns as one dictionary for each text."""
    result = stage.measure(batch_of(texts, languages))
    assert {name: column.type for name, column in result.columns.items()} == {
        field.name: field.type for field in stage.schema
    }
    return result, pa.table(result.columns).to_pylist()


def failing(stage: Stage, text: str, language: str = "en") -> list[str]:
    """Names of the rules that a text fails."""
    result = stage.measure(batch_of([text], [language]))
    decision = decide(stage.rules(), {"language": pa.array([language]), **result.columns}, 1)
    return [rule.name for rule, fails in zip(stage.rules(), decision.failing[:, 0], strict=True) if fails]
