"""Text to tokens: byte-level BPE fitted on dataset versions, or plain bytes.

Every byte is a token, so nothing is lost: ``decode(encode(text)) == text``.  Special tokens have the numbers behind
those of text.  What encodes text knows none of them, so that a page that says ``<|assistant|>`` says twelve
characters and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from trainer.data.segments import WORDS, SegmentEncoder
from trainer.errors import DataError

SPECIAL = (
    "<|bos|>", "<|eos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>",
)  # fmt: skip
LONGEST = 32  # bytes of a token: rulers and base64 get no tokens of their own
FILE = "tokenizer.json"
BYTES = "bytes/1"


class Vocabulary:
    """What all tokenizers have: numbers for text and, behind them, for special tokens.

    Args:
        size_of_text: how many numbers text has.
    """

    kind: str

    def __init__(self, size_of_text: int) -> None:
        self.size_of_text = size_of_text
        self.special = {name: size_of_text + n for n, name in enumerate(SPECIAL)}
        self.bos, self.eos, self.pad, self.end = (self.special[f"<|{n}|>"] for n in ("bos", "eos", "pad", "end"))

    @property
    def size(self) -> int:
        """Numbers of tokens, special ones included: the V of a model."""
        return self.size_of_text + len(SPECIAL)

    @property
    def dtype(self) -> np.dtype:
        """The narrowest type that holds all numbers."""
        return np.dtype("<u2") if self.size <= 1 << 16 else np.dtype("<u4")

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Tokens of texts, without any special ones."""
        raise NotImplementedError

    def encode(self, text: str) -> np.ndarray:
        """Tokens of one text, without any special ones."""
        return self.encode_all([text])[0]

    def decode(self, tokens: Iterable[int], special: bool = False) -> str:
        """The text of tokens; special ones are left out, or written out where ``special``."""
        names = {number: name for name, number in self.special.items()}
        said: list[str] = []
        run: list[int] = []
        for token in map(int, tokens):
            if token in names:
                said += [self._text(run), names[token] if special else ""]
                run = []
            else:
                run.append(token)
        return "".join([*said, self._text(run)])

    def _text(self, tokens: list[int]) -> str:
        raise NotImplementedError

    def to_json(self) -> str:
        """All of it, as ``tokenizer.json`` holds it."""
        raise NotImplementedError

    @cached_property
    def identity(self) -> str:
        """Digest of all that decides how text becomes tokens."""
        return "blake2b:" + hashlib.blake2b(self.to_json().encode(), digest_size=32).hexdigest()

    def save(self, folder: Path) -> Path:
        """Write ``tokenizer.json`` into a folder, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{FILE}.tmp-{os.getpid()}"
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(self.to_json())
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, folder / FILE)
        return folder / FILE


class ByteTokenizer(Vocabulary):
    """Each byte of the UTF-8 is a token.  There is nothing to fit."""

    kind = "bytes"

    def __init__(self) -> None:
        super().__init__(256)

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.frombuffer(text.encode(), np.uint8).astype(self.dtype) for text in texts]

    def _text(self, tokens: list[int]) -> str:
        return bytes(token for token in tokens if token < 256).decode("utf-8", "replace")

    def to_json(self) -> str:
        return json.dumps({"gristmill": BYTES, "special": list(SPECIAL)}, indent=2) + "\n"


class BpeTokenizer(Vocabulary):
    """Byte-level BPE.

    Args:
        state: the JSON of a ``tokenizers.Tokenizer`` as ``fit`` makes it.
    """

    kind = "bpe"

    def __init__(self, state: str) -> None:
        plain: dict[str, Any] = json.loads(state)
        super().__init__(len(plain["model"]["vocab"]))
        added = {token["content"]: token["id"] for token in plain["added_tokens"]}
        if added != self.special:
            raise DataError(f"the tokenizer has the special tokens {added}, and {self.special} are needed")
        self._state = state
        # Knows no special tokens: nothing in a text can become one.
        self._tokenizer = Tokenizer.from_str(json.dumps({**plain, "added_tokens": []}))
        if plain["pre_tokenizer"] != json.loads(_untrained().to_str())["pre_tokenizer"]:
            raise DataError("the tokenizer does not cut text into words as those fitted here do")
        self._encode = SegmentEncoder(self._tokenizer, self.dtype)

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self._encode(texts)

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False)) if tokens else ""

    def to_json(self) -> str:
        return self._state


def fit(texts: Iterable[str], size: int, least_count: int = 2) -> BpeTokenizer:
    """Fit byte-level BPE (Sennrich et al., 2016; on bytes: Radford et al., 2019).

    The same texts, in any order, give the same bytes.

    Args:
        texts: what to count; e.g. ``Dataset.texts()``.
        size: numbers of tokens, special ones included; fewer where the texts do not give as many.
        least_count: how often a pair must come to be merged.
    """
    least = 256 + len(SPECIAL)
    if size < least:
        raise DataError(f"a vocabulary of {size} is too small: there are {least} bytes and special tokens")
    tokenizer = _untrained()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL),
        min_frequency=least_count,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=LONGEST,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    return BpeTokenizer(json.dumps(json.loads(tokenizer.to_str()), indent=1, ensure_ascii=False) + "\n")


def _untrained() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def load(path: Path) -> Vocabulary:
    """The tokenizer in a ``tokenizer.json``, or in a folder that holds one."""
    path = path / FILE if path.is_dir() else path
    try:
        state = path.read_text(encoding="utf-8")
        return from_json(state)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no tokenizer can be read from it: {error}") from None


def from_json(state: str) -> Vocabulary:
    """The tokenizer that ``to_json`` wrote."""
    own = json.loads(state).get("gristmill")
    if isinstance(own, dict):
        from trainer.data.foreign import ForeignTokenizer  # which builds on this module

        return ForeignTokenizer(state)
    return ByteTokenizer() if own == BYTES else BpeTokenizer(state)
