"""How well documents are foretold: every token once, by definition, with honest errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.asking import BYTES, asked, rows, saved
from tests.trainer.published import pair, publish, turn
from trainer.errors import ConfigError, DataError
from trainer.evaluate.perplexity import Measured, ratio, summary, windows
from trainer.model_folder import load_model

TEXTS = ["short", "日本 text", "a much longer text that is read by windows, one behind the other", "x", "", "tail " * 9]


def pages(folder: Path) -> Path:
    languages, domains = ["en", "ja", "en", "en", None, "de"], ["news", "news", None, "code", "news", "code"]
    return publish(
        folder, "corpus",
        [{"id": f"p{n}", "text": t, "language": languages[n], "domain": domains[n]} for n, t in enumerate(TEXTS)], 2,
    )  # fmt: skip


@given(st.integers(0, 200), st.integers(2, 40))
def test_every_token_is_foretold_once_with_half_a_window_before_it(length: int, tokens: int) -> None:
    told: list[int] = []
    for piece in windows(7, length, tokens):
        assert piece.document == 7 and piece.end - piece.begin <= tokens
        assert piece.begin == 0 or piece.known + 1 - piece.begin >= tokens - tokens // 2
        told += range(piece.known + 1, piece.end + 1)
    assert told == list(range(1, length))


def test_a_model_without_an_opinion_is_surprised_alike_by_everything(tmp_path: Path) -> None:
    model, data = saved(tmp_path / "m", scale=0.0), pages(tmp_path / "pages")
    result = asked("perplexity", tmp_path / "out", {"model": model}, (data,), tokens=16)
    tokens, size = sum(len(t.encode()) + 1 for t in TEXTS), sum(len(t.encode()) for t in TEXTS)
    assert (result["documents"], result["tokens"], result["bytes"]) == (6, tokens, size)
    assert result["loss"] == pytest.approx(math.log(BYTES.size), abs=1e-6)
    assert result["perplexity"] == pytest.approx(BYTES.size, abs=1e-3)
    assert result["loss_error"] == pytest.approx(0, abs=1e-6)
    assert result["bits_per_byte"] == pytest.approx(tokens * math.log2(BYTES.size) / size, abs=1e-5)
    assert set(result["by_language"]) == {"en", "ja", "de", "none"}
    assert next(iter(result["by_domain"])) == "none" and result["by_domain"]["code"]["documents"] == 2
    assert result["by_language"]["de"]["bytes"] == 45 and result["by_language"]["de"]["loss_error"] is None


@torch.no_grad()
def naive(model: Path, tokens: list[int], window: int) -> float:
    """Nats of a document, one token at a time, from as many tokens as its window has."""
    module, total, known = load_model(model).module, 0.0, 0
    while known < len(tokens) - 1:
        end = min(len(tokens) - 1, known + (window if known == 0 else window // 2))
        for target in range(known + 1, end + 1):
            logits = module.logits(module(torch.tensor([tokens[max(0, end - window) : target]])).hidden_BTD[0, -1])
            total -= float(logits.log_softmax(-1)[tokens[target]])
        known = end
    return total


@pytest.mark.parametrize("window", [8, 24, 1024])
def test_losses_are_their_definition(tmp_path: Path, window: int) -> None:
    model, data = saved(tmp_path / "m"), pages(tmp_path / "pages")
    asked("perplexity", tmp_path / "out", {"model": model}, (data,), tokens=window, batch_tokens=50)
    found = rows(tmp_path / "out" / "documents.jsonl")
    assert [row["id"] for row in found] == [f"p{n}" for n in range(6)]
    for row, text in zip(found, TEXTS, strict=True):
        tokens = [BYTES.bos, *text.encode(), BYTES.eos]
        assert row["loss"] == pytest.approx(naive(model, tokens, window), rel=1e-5)
        assert (row["tokens"], row["bytes"], row["dataset"]) == (len(tokens) - 1, len(text.encode()), 0)


def test_of_conversations_only_what_the_assistant_says_counts(tmp_path: Path) -> None:
    turns = [turn("user", "one?"), turn("assistant", "ünö"), turn("user", "more?"), turn("assistant", "no")]
    data = publish(tmp_path / "c", "instructions", [
        {"id": "c", "messages": turns, "split": "held-out"}, {"id": "d", "messages": turns[:2], "split": "train"},
    ])  # fmt: skip
    given: dict[str, Any] = {"output": tmp_path / "out", "models": {"model": saved(tmp_path / "m")}}
    result = asked("perplexity", datasets=(data,), split="held-out", **given)
    assert (result["documents"], result["tokens"], result["bytes"]) == (1, 9, 7)
    result = asked("perplexity", datasets=(data, data), first=1, **given)
    assert [(row["dataset"], row["id"]) for row in rows(tmp_path / "out" / "documents.jsonl")] == [(0, "c"), (1, "c")]


def test_errors_of_ratios() -> None:
    """For equal denominators that of a mean; else about what leaving out one at a time says."""
    random = np.random.default_rng(0)
    losses, counts = random.gamma(3, size=400), random.integers(1, 50, size=400).astype(float)
    found, error = ratio(losses, np.ones(400))
    assert found == pytest.approx(losses.mean()) and error == pytest.approx(losses.std(ddof=1) / 20)
    losses *= counts
    left_out = np.array([np.delete(losses, n).sum() / np.delete(counts, n).sum() for n in range(400)])
    jackknife = math.sqrt(399 / 400 * ((left_out - left_out.mean()) ** 2).sum())
    assert ratio(losses, counts)[1] == pytest.approx(jackknife, rel=0.02)
    assert ratio(np.zeros(2), np.zeros(2)) == (None, None)
    alone = summary([Measured(math.log(8), 1, 0, None, None)])
    assert alone["perplexity"] == pytest.approx(8) and alone["bits_per_byte"] is None


def test_what_cannot_be_foretold_is_refused(tmp_path: Path) -> None:
    model = {"model": saved(tmp_path / "m")}
    pairs = publish(tmp_path / "pairs", "preferences", [pair("a?", "x", "y")])
    with pytest.raises(DataError, match="these are preferences"):
        asked("perplexity", tmp_path / "out", model, (pairs,))
    with pytest.raises(DataError, match="no document with a token"):
        asked("perplexity", tmp_path / "out", model, (pages(tmp_path / "pages"),), split="train")
    with pytest.raises(ConfigError, match="/config/tokens"):
        asked("perplexity", tmp_path / "out", model, (pairs,), tokens=1)
    with pytest.raises(ConfigError, match="gives no answers"):
        asked("perplexity", tmp_path / "o", {"model": saved(tmp_path / "r", reward=True)}, (pages(tmp_path / "q"),))
