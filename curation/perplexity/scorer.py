"""Perplexity of normalised text under SentencePiece and KenLM, as CCNet computes it.

The page is cut into pieces, the pieces are joined by spaces and scored as one sentence:

    perplexity = 10 ** (-log10 p(pieces </s> | <s>) / (number of pieces + 1))

CCNet scores line by line and adds up, but its text has no line feeds left by then, so a page is one line.
CCNet rounds the result to one decimal; here it is kept as it is (float64 from KenLM's float32 sum), so a
page less than 0.05 below a cut-off may be in the next lower bucket than CCNet puts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import kenlm
import numpy as np
import sentencepiece

from curation.errors import InputError
from curation.perplexity.files import ModelFiles

# Pieces are Python objects of some 50 bytes each; encoding this much text at once bounds them.
_ENCODE_BYTES = 1 << 20


class Scores(NamedTuple):
    """Attributes:
    perplexity: ``float64[n]``, NaN for a text without pieces.
    pieces: ``int64[n]``, number of pieces.
    """

    perplexity: np.ndarray
    pieces: np.ndarray


class Scorer:
    """The model of one language, loaded.  Loading an ARPA file takes seconds, a KenLM binary none."""

    def __init__(self, files: ModelFiles) -> None:
        self._pieces = _load_pieces(files)
        self._language_model = _load_language_model(files)
        self._splits = _may_hold_white_space(self._pieces)

    def score(self, texts: Sequence[bytes]) -> Scores:
        """Score normalised texts.

        Args:
            texts: UTF-8, as ``normalise_utf8`` returns them.
        """
        perplexity = np.full(len(texts), np.nan)
        pieces = np.zeros(len(texts), np.int64)
        encode, score = self._pieces.encode, self._language_model.score
        row = 0
        for chunk in _chunks(texts):
            # Pieces stay bytes: KenLM wants UTF-8, so nothing is decoded only to be encoded again.
            for words in encode(chunk, out_type=bytes, num_threads=1):
                if words:
                    sentence = b" ".join(words)
                    length = len(sentence.decode().split()) if self._splits else len(words)
                    perplexity[row] = 10.0 ** (-score(sentence) / (length + 1))
                    pieces[row] = len(words)
                row += 1
        return Scores(perplexity, pieces)


def load_scorer(files: ModelFiles) -> Scorer:
    """The scorer of a model, loaded once in this process while its files stay as they are."""
    return _loaded(files, _state(files.language_model), _state(files.pieces))


@cache
def _loaded(files: ModelFiles, *states: tuple[int, int]) -> Scorer:
    return Scorer(files)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _load_pieces(files: ModelFiles) -> sentencepiece.SentencePieceProcessor:
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(files.pieces))
    except (OSError, RuntimeError) as error:
        raise InputError(f"SentencePiece cannot load it: {error}", where=str(files.pieces)) from error


def _load_language_model(files: ModelFiles) -> kenlm.Model:
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(str(files.language_model), config)
    except (OSError, RuntimeError) as error:
        raise InputError(f"KenLM cannot load it: {error}", where=str(files.language_model)) from error


def _may_hold_white_space(pieces: sentencepiece.SentencePieceProcessor) -> bool:
    """Whether a piece may contain white space, so that words and pieces differ in number.

    CCNet counts words.  SentencePiece's usual normaliser makes every white space a piece boundary, then
    both are the same; a model with another normaliser may leave some.  Control characters are gone already.
    """
    spaces = [c for c in map(chr, range(0x21, 0x3001)) if c.isspace() and not 0x7F <= ord(c) < 0xA0]
    return any(character in pieces.normalize(f"a{character}b") for character in spaces)


def _chunks(texts: Sequence[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for text in texts:
        if chunk and size + len(text) > _ENCODE_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += len(text)
    if chunk:
        yield chunk
