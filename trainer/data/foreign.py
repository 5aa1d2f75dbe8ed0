"""Vocabularies that came with models from elsewhere: byte-level BPE that cuts words by an expression of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from trainer.data.tokenizer import SPECIAL, Vocabulary
from trainer.errors import DataError

FOREIGN = "foreign/1"


class ForeignTokenizer(Vocabulary):
    """Somebody else's numbers for text, and which of its numbers play the part of ours for what is special.

    What it calls special is special here too: no text becomes one.

    Args:
        state: the JSON of a ``tokenizers.Tokenizer``, and beside it ``gristmill``: ``kind``, ``size`` (numbers of
            tokens in all) and ``special`` (a number for each of ``SPECIAL``).
    """

    kind = "foreign"

    def __init__(self, state: str) -> None:
        plain: dict[str, Any] = json.loads(state)
        own = plain.pop("gristmill")
        self._size = int(own["size"])
        super().__init__(self._size - len(SPECIAL))
        self.special = {name: int(own["special"][name]) for name in SPECIAL}
        self.bos, self.eos, self.pad, self.end = (self.special[f"<|{n}|>"] for n in ("bos", "eos", "pad", "end"))
        numbers = set(self.special.values())
        if len(numbers) < len(SPECIAL) or not all(0 <= number < self._size for number in numbers):
            raise DataError(f"the special tokens {self.special} are no different numbers below {self._size}")
        self._state = state
        self._tokenizer = Tokenizer.from_str(json.dumps(of_text(plain)))

    @property
    def size(self) -> int:
        return self._size

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        said = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(each.ids, self.dtype) for each in said]

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False)) if tokens else ""

    def to_json(self) -> str:
        return self._state


def of_text(plain: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer that knows text and nothing special.

    Added tokens that are not special stay: they are text.  The library numbers added tokens anew, behind the
    vocabulary; so that they keep their numbers they enter it.  Special ones leave it, or a word of their letters could
    become one (``ignore_merges``).
    """
    text = {token["content"]: token["id"] for token in plain["added_tokens"] if not token["special"]}
    special = {token["content"] for token in plain["added_tokens"] if token["special"]}
    vocab = {content: number for content, number in plain["model"]["vocab"].items() if content not in special}
    return {
        **plain, "model": {**plain["model"], "vocab": {**vocab, **text}},
        "truncation": None, "padding": None, "post_processor": None,
        "added_tokens": [token for token in plain["added_tokens"] if not token["special"]],
    }  # fmt: skip
