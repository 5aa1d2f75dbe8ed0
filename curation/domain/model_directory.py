"""What a model directory says of itself without being loaded: labels, safety of its files, digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any

from curation.errors import InputError

HEAD = "ForSequenceClassification"

# The forms in which transformers stores a vocabulary.
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.spm")
# Every file of a directory that can alter a score.
_SCORING_FILES = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    *_VOCABULARIES,
)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def check_files(directory: Path) -> dict[str, Any]:
    """Refuse what is no local safetensors model, and read its configuration.

    A directory may hold pickles beside safetensors weights: they are never opened.

    Returns:
        ``config.json`` as it stands.

    Raises:
        InputError: for a missing directory, for weights that are missing or pickles only, for a missing
            tokenizer, for an adapter in place of a whole model, and for code of the model's own.
    """
    where = str(directory)
    if not directory.is_dir():
        raise InputError("no such model directory", where)
    config = _read_config(directory)
    if not any(directory.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in _PICKLES for path in directory.glob(pattern))
        if pickles:
            raise InputError(
                f"the weights are a pickle ({pickles[0]}), which can run code when opened; convert them to safetensors",
                where,
            )
        raise InputError("the model has no weights (*.safetensors)", where)
    # Without a vocabulary transformers makes an empty one, and every word is unknown.
    if not any(True for pattern in _VOCABULARIES for _ in directory.glob(pattern)):
        raise InputError("the model has no tokenizer (tokenizer.json, or a vocabulary file)", where)
    if (directory / "adapter_config.json").exists():
        raise InputError("the directory holds an adapter; merge it into its model first", where)
    if config.get("auto_map"):
        raise InputError("the model brings code of its own (auto_map), which is never run", where)
    return config


def read_labels(directory: Path) -> tuple[str, ...]:
    """The labels of a single-label sequence classifier, in the order of its scores; torch is not needed.

    Raises:
        InputError: where the directory is no such classifier, or does not name its labels.
    """
    where = str(directory / "config.json")
    config = check_files(directory)
    architectures = [str(name) for name in config.get("architectures") or []]
    if not any(name.endswith(HEAD) for name in architectures):
        found = ", ".join(architectures) or "none"
        raise InputError(f"not a classification head: architectures must name a …{HEAD}, found {found}", where)
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise InputError(f"a single-label classifier is needed, this one is a {config['problem_type']}", where)
    named = config.get("id2label")
    if not isinstance(named, Mapping) or not named:
        raise InputError("the model does not name its labels (id2label)", where)
    try:
        by_number = {int(number): str(label) for number, label in named.items()}
    except ValueError:
        raise InputError("the keys of id2label must be the numbers of the labels", where) from None
    labels = tuple(by_number[number] for number in sorted(by_number))
    if sorted(by_number) != list(range(len(labels))) or len(set(labels)) != len(labels):
        raise InputError("id2label must name each of the labels 0, 1, 2 … once, each by a name of its own", where)
    if len(labels) < 2:
        raise InputError("a classifier has at least two labels", where)
    return labels


def digest(directory: Path) -> str:
    """SHA-256 (hexadecimal) over the names and contents of all files that can alter a score.

    For each file in the order of its name: the name, a zero byte, the SHA-256 of its content.  Other files
    (a card, an evaluation) do not count.  The value is remembered while size and time of change of the files
    stay the same, so that a worker does not read the weights again for every shard.

    Raises:
        InputError: see ``check_files``.
    """
    check_files(directory)
    states = []
    for path in sorted(directory.iterdir(), key=lambda path: path.name):
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in _SCORING_FILES):
            status = path.stat()
            states.append((path.name, status.st_size, status.st_mtime_ns))
    return _digest(directory.resolve(), tuple(states))


@lru_cache(maxsize=64)
def _digest(directory: Path, states: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for name, _, _ in states:
        with open(directory / name, "rb") as file:
            total.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError("no model: config.json is missing", str(directory)) from None
    except (ValueError, OSError) as error:
        raise InputError(f"cannot be read: {error}", str(path)) from None
    if not isinstance(config, dict):
        raise InputError("must be a JSON object", str(path))
    return config
