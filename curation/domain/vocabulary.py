"""Characters that a WordPiece vocabulary lacks.

WordPiece for English knows some five hundred Chinese characters and turns the other thousands, and Chinese
punctuation, into one and the same unknown token.  Since each such character is a word of its own to the
tokenizer, it suffices to give it an entry, and an embedding that is learned in training.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

MIN_COUNT = 2
MAX_NEW = 12_000


def missing_characters(tokenizer: Any, texts: Sequence[str]) -> list[str]:
    """Characters that are words of their own to the tokenizer, but have no entry in its vocabulary.

    Args:
        tokenizer: a fast tokenizer; other models than WordPiece have no such gaps (they fall back on bytes
            or were trained on the script), so nothing is found for them.
        texts: from which the characters are taken.

    Returns:
        At most ``MAX_NEW`` characters that occur at least ``MIN_COUNT`` times, most frequent first, equal
        ones by code point.
    """
    backend = tokenizer.backend_tokenizer
    if type(backend.model).__name__ != "WordPiece" or backend.pre_tokenizer is None:
        return []
    counts: Counter[str] = Counter()
    for text in texts:
        normalised = backend.normalizer.normalize_str(text) if backend.normalizer else text
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normalised) if len(word) == 1)
    known = backend.get_vocab(with_added_tokens=True)
    missing = [word for word, count in counts.items() if word not in known and count >= MIN_COUNT]
    return sorted(missing, key=lambda word: (-counts[word], word))[:MAX_NEW]


def add_words(tokenizer: Any, words: Sequence[str], first: int) -> None:
    """Put words into a WordPiece vocabulary, with the ids ``first``, ``first + 1`` …

    They become plain entries, not added tokens: those would be searched for in the raw text.
    """
    from tokenizers import Tokenizer

    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    stored["model"]["vocab"].update({word: first + number for number, word in enumerate(words)})
    # transformers reads the vocabulary through this attribute and writes it to tokenizer.json.
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(stored))
