"""A tokenizer of ours as files of transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trainer.data.foreign import ForeignTokenizer
from trainer.data.tokenizer import ByteTokenizer, Vocabulary
from trainer.exchange.template import chat_template

TOKENIZER, CONFIGURATION = "tokenizer.json", "tokenizer_config.json"


def tokenizer_files(vocabulary: Vocabulary) -> dict[str, str]:
    """``tokenizer.json`` and ``tokenizer_config.json``."""
    plain = library_form(vocabulary)
    special = spellings(vocabulary, plain)
    spelled = [token["content"] for token in plain["added_tokens"] if token["special"]]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
        "bos_token": special["<|bos|>"], "eos_token": special["<|eos|>"], "pad_token": special["<|pad|>"],
        "model_input_names": ["input_ids", "attention_mask"], "model_max_length": 10**30, "padding_side": "left",
        "chat_template": chat_template(special, spelled),
    }  # fmt: skip
    files = {TOKENIZER: plain, CONFIGURATION: config}
    return {name: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for name, content in files.items()}


def library_form(vocabulary: Vocabulary) -> dict[str, Any]:
    """What the tokenizers library makes the same tokenizer from, as parsed JSON."""
    if isinstance(vocabulary, ByteTokenizer):
        return _bytes_as_bpe(vocabulary)
    plain: dict[str, Any] = json.loads(vocabulary.to_json())
    if isinstance(vocabulary, ForeignTokenizer):
        del plain["gristmill"]
    return plain


def spellings(vocabulary: Vocabulary, plain: Mapping[str, Any]) -> dict[str, str]:
    """How each of our special tokens is spelled over there: a model that came from elsewhere keeps its own words."""
    names = {token["id"]: token["content"] for token in plain["added_tokens"]}
    return {name: names[number] for name, number in vocabulary.special.items()}


def special_token(number: int, name: str) -> dict[str, Any]:
    """An entry of ``added_tokens``."""
    return {
        "id": number, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
        "special": True,
    }  # fmt: skip


def byte_vocabulary() -> dict[str, int]:
    """What the byte-level alphabet calls each byte: printable ones themselves, others from U+0100 on (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    names = {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + n) for n, byte in enumerate(others)}}
    return {names[byte]: byte for byte in range(256)}


def _bytes_as_bpe(vocabulary: ByteTokenizer) -> dict[str, Any]:
    """Bytes as they are, said as BPE without merges."""
    cut = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model: dict[str, Any] = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": byte_vocabulary(), "merges": [],
    }  # fmt: skip
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [special_token(number, name) for name, number in vocabulary.special.items()],
        "normalizer": None, "pre_tokenizer": cut, "post_processor": None, "decoder": cut, "model": model,
    }  # fmt: skip
