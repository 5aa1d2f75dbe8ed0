"""Words and their places against a loop over characters."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.decontamination import words as words_module
from curation.decontamination.words import ATTACHES, pieces_of, words_of
from curation.duplicates.folding import tables
from tests.decontamination import twin

ALPHABETS = [
    "ab bc. ",
    "aA éÉe\u0301\u0327 ß ſ ﬁ \u212b Å Ⅷ ½ ² ١٢ \u00ad\u200d_-'’",
    "ａＡ１ ，。 \u0301\u030a\u0323",
    "漢字かなカナｶﾞﾊﾟｰ ー々〇〡㍿㌖か\u3099\u309a は a",
    "ไทย เก้าอี้ น้ำ ลาว ខ្មែរ မြန်မာ a",
    "हिन्दी क\u093c \u09c7\u09be a",
    "العربية مُحَمَّد \u064b ﷺ لا a",
    "각 \u1100\u1161\u11a8 \uac00\u11a8 \uffa1 a",
    "\u0301\u0323\u0345\u0344 a\u0302 α 𝐀 𝟙 😀 \U000e0100 漢",
]
texts = st.sampled_from(ALPHABETS).flatmap(lambda alphabet: st.text(alphabet, max_size=30))


def check(text: str) -> None:
    found, expected = words_of(text), twin.words(text)
    places = zip(found.words, found.starts.tolist(), found.ends.tolist(), found.unspaced.tolist(), strict=True)
    assert list(places) == expected


@given(texts)
def test_words_and_places(text: str) -> None:
    check(text)


@given(st.text(max_size=30))
def test_any_text(text: str) -> None:
    check(text)


@given(texts, st.integers(1, 9))
def test_pieces(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words_module, "PIECE", size)
        pieces = list(pieces_of(text))
    found = [
        place
        for piece in pieces
        for place in zip(piece.words, piece.starts.tolist(), piece.ends.tolist(), piece.unspaced.tolist(), strict=True)
    ]
    assert found == twin.words(text)


def test_what_attaches_of_all_characters() -> None:
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    ours = tables().entries[codes] & np.uint32(ATTACHES) != 0
    different = [
        hex(code)
        for code, one in zip(codes, ours.tolist(), strict=True)
        if unicodedata.category(chr(code)) not in ("Cn", "Co") and one != twin.attaches(chr(code))
    ]
    assert different == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ... !", []),
        ("A. Paris (b) London", [("paris", 3, 8), ("london", 13, 19)]),
        ("Ｈｅｌｌｏ，１２３", [("hello", 0, 5), ("123", 6, 9)]),
        ("e\u0301tude", [("étude", 0, 6)]),
        ("水，火", [("水", 0, 1), ("火", 2, 3)]),
        ("x㍿", [("株", 1, 2), ("式", 1, 2), ("会", 1, 2), ("社", 1, 2)]),
    ],
)
def test_examples(text: str, expected: list[tuple[str, int, int]]) -> None:
    found = words_of(text)
    assert list(zip(found.words, found.starts.tolist(), found.ends.tolist(), strict=True)) == expected
