"""A tiny classifier with random weights, made afresh: real code paths, no download, milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["the", "market", "bank", "goal", "match", "team", "film", "music", "chip", "code", "，", "球"]
LABELS = ["business", "sport", "体育|新闻"]


def write_model(directory: Path, labels: list[str] | None = None, head: bool = True) -> Path:
    """A BERT of two layers, width 32, 64 positions, over a vocabulary of letters and a few words."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces = [*special, *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS, "[", "]"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **names)
    labels = LABELS if labels is None else labels
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        # Large weights, so that different texts get clearly different scores.
        initializer_range=0.3,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = (BertForSequenceClassification if head else BertModel)(config)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny classifier; tests that change it copy it first."""
    return write_model(tmp_path_factory.mktemp("model") / "classifier")


@pytest.fixture(scope="session")
def encoder_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a head, as a base to fit from."""
    return write_model(tmp_path_factory.mktemp("model") / "encoder", head=False)


@pytest.fixture
def edit_config() -> Callable[..., None]:
    """Change ``config.json`` of a directory; None takes a name away."""

    def edit(directory: Path, **changes: object) -> None:
        path = directory / "config.json"
        config = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))

    return edit
