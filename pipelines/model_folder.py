"""The folder of a trained model as the house sees it: what identifies it, and what it says of itself.

A trainer writes it (docs/trainings.md).  Nothing here needs what models are made of.

MODEL/
  manifest.json      size and digest of each other file; its own digest is that of the model
  config.json        perhaps: ``kind`` (language, reward or tokenizer), ``family``
  gristmill.json     perhaps: ``stage``, ``figures``
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curation.errors import RunError
from pipelines.storage import MANIFEST, Storage

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}")
MOST_FIGURES = 100


@dataclass(frozen=True)
class TrainedModel:
    """A model.

    Attributes:
        digest: of its manifest.
        files: ``bytes`` and ``digest`` of each, by name.
        kind: ``language``, ``reward`` or ``tokenizer``.
        family, stage: where it says so.
        figures: of its training.
    """

    digest: str
    files: Mapping[str, Mapping[str, Any]]
    kind: str
    family: str | None
    stage: str | None
    figures: Mapping[str, float | str]


def model_digest(manifest: bytes) -> str:
    """What identifies a model, from the bytes of its manifest."""
    return "blake2b:" + hashlib.blake2b(manifest, digest_size=16).hexdigest()


def read_model(location: str) -> TrainedModel:
    """A model that is whole: every file that its manifest names is there and has its size.

    Raises:
        RunError: it is not.
    """
    storage = Storage(location)
    digest, files = read_manifest(storage)
    for name, entry in files.items():
        if storage.size(name) != entry["bytes"]:
            raise RunError(f"the model in {location} is not whole: {name} is not there, or has another size")
    config, facts = (_object(storage, name) if name in files else {} for name in ("config.json", "gristmill.json"))
    figures = facts.get("figures")
    return TrainedModel(
        digest, files, _word(config.get("kind")) or "language", _word(config.get("family")), _word(facts.get("stage")),
        _figures(figures if isinstance(figures, dict) else {}),
    )  # fmt: skip


def read_manifest(storage: Storage) -> tuple[str, dict[str, dict[str, Any]]]:
    """Digest of a model, and its files by name.

    Raises:
        RunError: there is no manifest, or none of a model.
    """
    try:
        data = storage.read(MANIFEST)
        files = json.loads(data)["files"]
        plain = {str(n): {"bytes": int(e["bytes"]), "digest": str(e["digest"])} for n, e in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{storage.uri} holds no model: {MANIFEST} cannot be read ({error})") from None
    for name in plain:
        if not _FILE.fullmatch(name):
            raise RunError(f"{storage.uri}: {MANIFEST} names a file {name!r}; a model's files lie beside each other")
    return model_digest(data), plain


def check_model(model: Mapping[str, Any]) -> None:
    """See that a model is the one that was registered.

    Args:
        model: name, version, location, digest.

    Raises:
        RunError: it is not.
    """
    try:
        found = read_manifest(Storage(model["location"]))[0]
    except RunError:
        found = None
    if found != model["digest"]:
        raise RunError(
            f"model {model['name']} version {model['version']} is not the one that was registered: "
            f"{model['location']} holds no manifest, or one with another digest than {model['digest']}"
        )


def _object(storage: Storage, name: str) -> dict[str, Any]:
    try:
        found = json.loads(storage.read(name))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{storage.uri}/{name} cannot be read: {error}") from None
    return found if isinstance(found, dict) else {}


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _figures(given: Mapping[str, Any]) -> dict[str, float | str]:
    """Numbers by name; those that JSON has no word for as text."""
    numbers = {str(n)[:100]: v for n, v in given.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {n: v if math.isfinite(v) else str(v) for n, v in list(numbers.items())[:MOST_FIGURES]}
