from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.batch import text_buffers
from curation.perplexity.normalise import normalise, normalise_utf8
from tests.perplexity.twins import ccnet_normalise

GOLDEN = {
    "": "",
    "  Hello, World!\n": "hello, world!",
    "end of line\nnext line": "end of linenext line",  # the line feed is removed, not replaced
    "in 2024, 7 of 10": "in 0000, 0 of 00",
    "１２": "00",  # digits go first, so the slip in cc_net's table has no effect
    "٣४": "00",
    "²½": "²½",  # not decimal digits
    "Café Ångström": "cafe angstrom",
    "\u212b": "a",
    "「你好」，世界。": '"你好",世界.',
    "—": " - ",
    "wait…": "wait...",
    "«a» – ‘b’": '"a" - ‘b\'',  # the left single quotation mark is not in the table
    "한": "\u1112\u1161\u11ab",
    "ΟΔΟΣ ΣΑ": "οδος σα",
    "İ": "i",
    "a\u200bb": "a\u200bb",
    " \x00 ": "",
    "a \x00": "a ",
    "\u3000\u2028x\u00a0": "x",
    "\U0001d160": "\U0001d158\U0001d165\U0001d16e",  # marks that are not nonspacing stay
    "x\ufe0f\U000e0101": "x",
    "\U0002f800": "\u4e3d",
}
TRICKY = "Σσς İ\u0307\u0301한１—．…\u302e\u302f\U0001d165\U0001d16d\u0f71\u0f72\x00\x85\n\t \u00a0\u3000aZ9é\u0345"


def in_one_batch(texts: list[str]) -> list[str]:
    return [text.decode() for text in normalise_utf8(*text_buffers(pa.array(texts, pa.large_string())))]


@pytest.mark.parametrize(("text", "expected"), GOLDEN.items())
def test_golden(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert ccnet_normalise(text) == expected


def test_a_batch_gives_the_same_as_its_texts() -> None:
    assert in_one_batch(list(GOLDEN)) == list(GOLDEN.values())
    assert in_one_batch([]) == []


def test_every_code_point_agrees_with_the_twin() -> None:
    codes = [*range(0xD800), *range(0xE000, 0x20000), *range(0x20000, 0x110000, 89)]
    codes += [*range(0x2F700, 0x2FB00), *range(0xE0000, 0xE0300)]
    texts = [f"a{chr(code)}b" for code in codes]
    expected = [ccnet_normalise(text) for text in texts]
    assert in_one_batch(texts) == expected
    assert [normalise(text) for text in texts] == expected


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(st.one_of(st.sampled_from(TRICKY), st.characters(exclude_categories=["Cs"])))))
def test_any_text_agrees_with_the_twin(texts: list[str]) -> None:
    expected = [ccnet_normalise(text) for text in texts]
    assert [normalise(text) for text in texts] == expected
    assert in_one_batch(texts) == expected


def test_slices_and_nulls_of_a_column() -> None:
    column = pa.array(["Zero", None, "Één", "ΣΑΣ", "Four"], pa.string()).slice(1, 3)
    assert normalise_utf8(*text_buffers(column)) == [b"", b"een", "σας".encode()]


def test_real_pages_agree_with_the_twin(real_data: Path) -> None:
    texts = []
    for name in ("c4-sample-en", "wikipedia-zh-hant", "english-web-treebank"):
        with gzip.open(real_data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
            texts += [json.loads(line)["text"] for line, _ in zip(stream, range(200), strict=False)]
    assert in_one_batch(texts) == [ccnet_normalise(text) for text in texts]
