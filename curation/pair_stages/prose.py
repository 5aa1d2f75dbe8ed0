"""What the words of a text tell of its language, whatever an identifier says of it."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import numpy as np

from curation.text.charclass import MARK, character_flags

_FENCED = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1|\Z)|`[^`\n]*`|https?://\S+", re.M | re.S)
_TAG = re.compile(r"<[^<>\n]*>")
_SIGN_OF_CODE = re.compile(r"[<>{}=;_\\]|\w\(")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u30ff\uff66-\uff9f]")
_HANGUL = re.compile("[\u1100-\u11ff\uac00-\ud7a3]")
_TOKEN = re.compile(r"\w+")
# Letters between blanks and the marks of sentences, so no part of an identifier, a formula or a number.
_WORD = re.compile(
    r"(?<![^\s\"“‘«(（¿¡—])[^\W\d_]++(?:['’-][^\W\d_]++)*+(?=[,.;:!?)\"'”’»…*，。；：！？）」』।؟،؛-]*+(?:\s|\Z|—))"
)


class Prose(NamedTuple):
    """The words of a text, without those in code.

    Attributes:
        han: Chinese characters.
        words: words of other letters, without names, abbreviations, identifiers and what is in formulas.
        tokens: runs of letters and digits of whatever kind, Chinese characters apart.
        signs: marks that are frequent in code and rare elsewhere.
        kana, hangul: whether there are any.
    """

    han: int
    words: int
    tokens: int
    signs: int
    kana: bool
    hangul: bool

    @property
    def is_chinese(self) -> bool:
        """Mostly Chinese characters, and none of Japanese or Korean."""
        return self.han > self.words and not (self.kana or self.hangul)

    @property
    def is_mixed(self) -> bool:
        """Chinese characters and words of other letters."""
        return self.han > 0 and self.words > 0

    @property
    def has_language(self) -> bool:
        """Whether there is more than code, names and rows of numbers."""
        return self.han > self.words or (2 * self.words >= self.tokens and 10 * self.signs <= self.words)


def prose_of(text: str) -> Prose:
    """The words of a text, counted."""
    open_text = _FENCED.sub(" ", text)
    signs = len(_SIGN_OF_CODE.findall(open_text))
    apart, han = _HAN.subn(" ", _TAG.sub(" ", open_text).translate(_marks()))
    words = sum(word == word.lower() for word in _WORD.findall(apart))
    tokens = len(_TOKEN.findall(apart))
    return Prose(han, words, tokens, signs, bool(_KANA.search(apart)), bool(_HANGUL.search(apart)))


@cache
def _marks() -> dict[int, None]:
    """Marks of letters, which no pattern here takes for part of a word."""
    return dict.fromkeys(np.flatnonzero(character_flags() & MARK).tolist())
