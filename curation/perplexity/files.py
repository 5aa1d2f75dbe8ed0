"""Where the files of a perplexity model lie, and their digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from curation.errors import InputError

LANGUAGE_MODEL_SUFFIXES = (".arpa.bin", ".arpa", ".arpa.gz")  # the first that exists is used
PERCENTILES_FILE = "percentiles.json"


@dataclass(frozen=True)
class ModelFiles:
    """The files of one language.

    Attributes:
        language_model: KenLM binary or ARPA file (gzip allowed) over SentencePiece pieces.
        pieces: SentencePiece model.
        percentiles: table of held-out perplexities, for models fitted with it.
    """

    language_model: Path
    pieces: Path
    percentiles: Path | None = None

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file, by its role."""
        files = {
            "language-model": self.language_model,
            "pieces": self.pieces,
            "percentiles": self.percentiles,
        }
        return {role: file_digest(path) for role, path in files.items() if path is not None}


def find_model(language: str, location: str | Path) -> ModelFiles:
    """Find the model of a language.

    Args:
        language: its code.
        location: a folder with ``model.arpa[.bin|.gz]`` and ``sp.model`` (as ``fit_perplexity`` writes it) or
            with ``{language}.arpa[.bin|.gz]`` and ``{language}.sp.model`` (as CCNet's models are published);
            or the common prefix of two such files.

    Raises:
        InputError: a file is missing; says which and how to fit one.
    """
    path = Path(location)
    if path.is_dir():
        candidates = [(path / "model", path / "sp.model"), (path / language, path / f"{language}.sp.model")]
    else:
        candidates = [(path, path.with_name(f"{path.name}.sp.model"))]
    for stem, pieces in candidates:
        names = [stem.with_name(stem.name + suffix) for suffix in LANGUAGE_MODEL_SUFFIXES]
        language_model = next((name for name in names if name.is_file()), None)
        if language_model is not None and pieces.is_file():
            percentiles = pieces.with_name(PERCENTILES_FILE)
            fitted = stem.name == "model" and percentiles.is_file()
            return ModelFiles(language_model, pieces, percentiles if fitted else None)
    wanted = " or ".join(f"{stem.name}.arpa[.bin|.gz] with {pieces.name}" for stem, pieces in candidates)
    raise InputError(
        f"there is no perplexity model for language '{language}': expected {wanted}. Fit one with: "
        f"gristmill fit perplexity --language {language} CORPUS... --output DIR",
        where=str(path),
    )


@dataclass(frozen=True)
class Percentiles:
    """Perplexities of held-out text: ``values[p]`` is the ``p``-th percentile, ``p`` from 0 to 100."""

    values: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> Percentiles:
        """Read the table that ``fit_perplexity`` wrote; ``InputError`` if it is not one."""
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            values = tuple(float(value) for value in table["percentiles"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            problem = f"not a table of percentiles ({type(error).__name__})"
            raise InputError(problem, where=str(path)) from error
        if len(values) != 101 or not np.all(np.isfinite(values)) or np.any(np.diff(values) < 0):
            raise InputError("a table of percentiles has 101 finite rising values", where=str(path))
        return cls(values)

    def at(self, percentile: float) -> float:
        """Perplexity at a percentile, linear between the whole ones."""
        return float(np.interp(percentile, np.arange(101), self.values))


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal; computed once while its size and time of change stay."""
    status = path.stat()
    return _digest(str(path.resolve()), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def facts_of(models: Mapping[str, ModelFiles]) -> dict[str, str]:
    """Digests of all models as stage facts: ``model.{language}.{role} -> sha256:...``."""
    return {
        f"model.{language}.{role}": f"sha256:{digest}"
        for language, files in sorted(models.items())
        for role, digest in files.digests().items()
    }
