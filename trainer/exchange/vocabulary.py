"""A tokenizer of transformers as a vocabulary of ours: byte-level BPE that can be said exactly, or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer, pre_tokenizers

from trainer.data.foreign import FOREIGN, ForeignTokenizer
from trainer.data.tokenizer import SPECIAL, BpeTokenizer, ByteTokenizer, Vocabulary
from trainer.errors import DataError, StateError
from trainer.exchange.read import read_json
from trainer.exchange.tokenizer import CONFIGURATION, TOKENIZER, byte_vocabulary, special_token

CUTS = ("Split", "Digits")
"""Steps of cutting text into words that lose nothing."""
PARTS = (("<|eos|>", "eos"), ("<|bos|>", "bos"), ("<|pad|>", "pad"))
"""Special tokens that others have too; where one plays two parts, it is the first of these."""


class Found(NamedTuple):
    """A tokenizer that came with a model."""

    vocabulary: Vocabulary
    known: int
    """Numbers that it knew itself."""
    added: tuple[str, ...]
    """Our special tokens that it lacked: numbers from ``known`` on."""


def read_tokenizer(folder: Path, rows: int, ids: Mapping[str, Any]) -> Found:
    """The tokenizer of a folder, if it can be said exactly.

    Args:
        folder: with ``tokenizer.json``, perhaps ``tokenizer_config.json``.
        rows: of the embedding.
        ids: ``bos_token_id`` and so on, as ``config.json`` has them.

    Raises:
        StateError: it is no byte-level BPE, does something to text that would be lost here, or is larger than the
            embedding.
    """
    path = folder / TOKENIZER
    plain, names = read_json(path), read_json(folder / CONFIGURATION) if (folder / CONFIGURATION).exists() else {}
    try:
        plain = _checked(plain)
        own = _own(plain)
        found = Found(own, own.size, ()) if own else _extended(plain, _parts(plain, names, ids))
    except (DataError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise StateError(f"{path}: no tokenizer of ours can be made from it: {error}") from None
    except Exception as error:  # what the tokenizers library raises has no type of its own
        raise StateError(f"{path}: it cannot be read: {error}") from None
    if found.known > rows:
        raise StateError(f"{path} has {found.known} tokens, and the model only {rows}")
    return found


def _checked(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What makes tokens of text as it does; refuses what ours could not do exactly, or what loses text."""
    model, added = plain["model"], plain["added_tokens"]
    if model.get("type") != "BPE" or model.get("byte_fallback") or model.get("dropout"):
        raise DataError("it is no byte-level BPE (or has byte_fallback, or dropout)")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise DataError(f"its model has a {name}, which byte-level BPE has not")
    if plain.get("normalizer") is not None:
        raise DataError("its normalizer changes texts, so that what is encoded cannot be decoded")
    _check_cut(plain["pre_tokenizer"])
    if (plain.get("decoder") or {}).get("type") != "ByteLevel":
        raise DataError("its decoder is not that of byte-level BPE")
    missing = set(pre_tokenizers.ByteLevel.alphabet()) - set(model["vocab"])
    if missing:
        raise DataError(f"it lacks {len(missing)} of the 256 bytes")
    _check_numbers(model["vocab"], added)
    added = [{**token, "special": token["special"] or token["content"] in SPECIAL} for token in added]
    merged = {"".join(merge) if isinstance(merge, list) else merge.replace(" ", "") for merge in model["merges"]}
    for token in added:
        if token["special"] and token["content"] in merged:
            raise DataError(f"text becomes its special token {token['content']!r} by merging")
        if not token["special"] and (token["lstrip"] or token["rstrip"] or token["single_word"]):
            raise DataError(f"its added token {token['content']!r} is found in some places only, or takes blanks along")
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": plain["pre_tokenizer"], "post_processor": None, "decoder": plain["decoder"], "model": model,
    }  # fmt: skip


def _check_cut(cut: Mapping[str, Any] | None) -> None:
    steps = [] if cut is None else cut["pretokenizers"] if cut["type"] == "Sequence" else [cut]
    for step in steps[:-1]:
        if step["type"] not in CUTS or step.get("behavior") == "Removed":
            raise DataError(f"its pre_tokenizer has the step {step['type']!r}, which may lose something")
    if not steps or steps[-1]["type"] != "ByteLevel" or steps[-1]["add_prefix_space"]:
        raise DataError("its pre_tokenizer does not end with ByteLevel without add_prefix_space")


def _check_numbers(vocab: Mapping[str, Any], added: list[dict[str, Any]]) -> None:
    """Each token has a number of its own, and none is left out."""
    numbers = {**{token["content"]: token["id"] for token in added}, **vocab}
    if not all(type(number) is int for number in numbers.values()) or len({t["content"] for t in added}) < len(added):
        raise DataError("its tokens have no numbers, or several")
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise DataError("its numbers do not go from 0 on without gaps and repetitions")


def _own(plain: dict[str, Any]) -> Vocabulary | None:
    """What was made here."""
    model, special = plain["model"], {token["content"]: token["id"] for token in plain["added_tokens"]}
    if model["vocab"] == byte_vocabulary() and not model["merges"] and special == ByteTokenizer().special:
        return ByteTokenizer()
    try:
        return None if model.get("ignore_merges") else BpeTokenizer(_text(plain))
    except DataError:
        return None


def _parts(plain: dict[str, Any], names: Mapping[str, Any], ids: Mapping[str, Any]) -> dict[str, int]:
    """Numbers of its special tokens that play the part of ours."""
    added = {token["content"]: token["id"] for token in plain["added_tokens"] if token["special"]}
    found: dict[str, int] = {name: added[name] for name in SPECIAL if name in added}
    for ours, part in PARTS:
        said = names.get(f"{part}_token")
        said = said.get("content") if isinstance(said, Mapping) else said
        number = added.get(said) if isinstance(said, str) else ids.get(f"{part}_token_id")
        if isinstance(number, int) and number in added.values() and number not in found.values():
            found.setdefault(ours, number)
    return found


def _extended(plain: dict[str, Any], named: Mapping[str, int]) -> Found:
    """With new numbers, behind its own, for what it lacks."""
    taken = {**plain["model"]["vocab"], **{token["content"]: token["id"] for token in plain["added_tokens"]}}
    known, lacking = len(taken), [name for name in SPECIAL if name not in named]
    for name in lacking:
        if name in taken:
            raise DataError(f"its token {name!r} is of text, and spelled as a special one is here")
    new = {name: known + place for place, name in enumerate(lacking)}
    plain = {**plain, "added_tokens": [*plain["added_tokens"], *(special_token(n, name) for name, n in new.items())]}
    special = {name: {**named, **new}[name] for name in SPECIAL}
    own = {"kind": FOREIGN, "size": known + len(new), "special": special}
    found = ForeignTokenizer(_text({"gristmill": own, **plain}))
    _check_library(plain, found)
    return Found(found, known, tuple(lacking))


def _check_library(plain: dict[str, Any], found: ForeignTokenizer) -> None:
    """The tokenizers library, which others use it through, sees it so too."""
    theirs = Tokenizer.from_str(json.dumps(plain))
    for token in plain["added_tokens"]:
        number, content = token["id"], token["content"]
        if theirs.token_to_id(content) != number:
            raise DataError(f"its added token {content!r} has the number {number}, and would get another one")
        if not token["special"] and found.decode([number]) != content:
            raise DataError(f"its added token {content!r} is not decoded to what it was")


def _text(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, indent=1, ensure_ascii=False) + "\n"
    text.encode()  # JSON may hold halves of signs, which no file does
    return text
