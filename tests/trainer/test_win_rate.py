"""Who wins before a reward model, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.asking import BYTES, asked, rows, saved
from tests.trainer.published import pair, publish, turn
from trainer.data import chat
from trainer.errors import ConfigError
from trainer.evaluate.win_rate import scores, win_rate
from trainer.model_folder import load_model

CPU = torch.device("cpu")


def score(reward: Path, prompt: list[dict[str, str]], answer: str) -> float:
    """Of one whole conversation, at its last token."""
    tokens = chat.conversation([*prompt, turn("assistant", answer)], BYTES).tokens
    with torch.no_grad():
        return float(load_model(reward).module(torch.from_numpy(tokens.astype(np.int64))[None])[0, -1])


def pairs(folder: Path, count: int = 12) -> Path:
    return publish(folder, "preferences", [pair(f"question {n}?", f"chosen {n} " * 6, "no") for n in range(count)])


def test_wins_are_counted_and_ties_are_half_of_one() -> None:
    found = win_rate(np.array([1.0, 2.0, 0.0, 5.0]), np.array([0.0, 2.0, 1.0, 1.0]))
    assert (found.wins, found.ties, found.losses, found.rate) == (2, 1, 1, 0.625)
    assert win_rate(np.ones(5), np.zeros(5))[:3] == (1.0, 1.0, 1.0)


def test_the_interval_is_that_of_resampled_prompts() -> None:
    random = np.random.default_rng(3)
    first, second = random.integers(0, 4, size=(2, 150))
    found = win_rate(first, second)
    won = (first > second) + 0.5 * (first == second)
    means = won[random.integers(150, size=(20_000, 150))].mean(1)
    assert found.low == pytest.approx(np.quantile(means, 0.025), abs=0.01)
    assert found.high == pytest.approx(np.quantile(means, 0.975), abs=0.01)
    assert win_rate(first, second) == found != win_rate(first, second, seed=2)


def test_scores_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    head = load_model(saved(tmp_path / "r", reward=True)).module.double()
    random = np.random.default_rng(0)
    sequences = [random.integers(256, size=length) for length in (3, 40, 1, 17, 18, 2, 33)]
    found = scores(head, sequences, padding=BYTES.pad, batch_tokens=40, device=CPU, dtype=torch.float64)
    for got, tokens in zip(found, sequences, strict=True):
        with torch.no_grad():
            assert got == pytest.approx(float(head(torch.from_numpy(tokens)[None])[0, -1]), abs=1e-12)


def test_two_models_before_a_reward_model(tmp_path: Path) -> None:
    models = {"a": saved(tmp_path / "a", seed=1), "b": saved(tmp_path / "b", seed=2)}
    reward = saved(tmp_path / "r", reward=True)
    given: dict[str, Any] = {"datasets": (pairs(tmp_path / "pairs"),), "sampling": {"new_tokens": 9}, "first": 10}
    result = asked("win_rate", tmp_path / "1", {**models, "reward": reward}, **given)
    found = rows(tmp_path / "1" / "answers.jsonl")
    assert [row["messages"] for row in found] == [[turn("user", f"question {n}?")] for n in range(10)]
    for row in found:
        for side in ("a", "b"):
            assert row[side]["score"] == pytest.approx(score(reward, row["messages"], row[side]["text"]), abs=1e-5)
        assert row["winner"] == ("a" if row["a"]["score"] > row["b"]["score"] else "b")
    assert result["wins"] == sum(row["winner"] == "a" for row in found) == 10 - result["losses"]
    assert result["win_rate"] == result["wins"] / 10
    assert result["interval"][0] <= result["win_rate"] <= result["interval"][1]
    assert result["against"] == "b" and result["prompts"] == 10
    other = asked("win_rate", tmp_path / "2", {"a": models["b"], "b": models["a"], "reward": reward}, **given)
    assert other["win_rate"] == pytest.approx(1 - result["win_rate"])
    assert other["interval"] == pytest.approx([1 - end for end in result["interval"][::-1]], abs=0.11)


def test_a_model_ties_with_itself(tmp_path: Path) -> None:
    model, reward = saved(tmp_path / "a"), saved(tmp_path / "r", reward=True)
    given: dict[str, Any] = {"datasets": (pairs(tmp_path / "pairs"),), "sampling": {"new_tokens": 9}}
    result = asked("win_rate", tmp_path / "1", {"a": model, "b": model, "reward": reward}, **given)
    assert (result["ties"], result["win_rate"], result["interval"]) == (12, 0.5, [0.5, 0.5])
    assert result["warnings"] == [] and result["longer_wins"] is None


def test_without_b_the_answers_of_the_data_stand_for_it(tmp_path: Path) -> None:
    model, reward = saved(tmp_path / "a"), saved(tmp_path / "r", reward=True)
    turns = [turn("user", "x?"), turn("assistant", "y"), turn("user", "z?"), turn("assistant", "the end of it all")]
    chats = publish(tmp_path / "chats", "instructions", [{"id": "1", "messages": turns}])
    given: dict[str, Any] = {"datasets": (pairs(tmp_path / "pairs", 3), chats), "sampling": {"new_tokens": 4}}
    result = asked("win_rate", tmp_path / "1", {"a": model, "reward": reward}, **given)
    found = rows(tmp_path / "1" / "answers.jsonl")
    assert [row["b"]["text"] for row in found] == [*(f"chosen {n} " * 6 for n in range(3)), "the end of it all"]
    assert found[3]["b"]["score"] == pytest.approx(score(reward, turns[:3], "the end of it all"), abs=1e-5)
    assert result["against"] == "reference"
    assert result["mean_characters"]["b"] == pytest.approx((3 * 54 + 17) / 4)
    assert "differ in length" in result["warnings"][0]
    longer = [row["winner"] == "b" for row in found]
    assert result["longer_wins"] == sum(longer) / len(longer)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    model, reward, data = saved(tmp_path / "a"), saved(tmp_path / "r", reward=True), pairs(tmp_path / "pairs")
    with pytest.raises(ConfigError, match="'reward' is a language model; it gives no scores"):
        asked("win_rate", tmp_path / "1", {"a": model, "reward": model}, (data,))
    with pytest.raises(ConfigError, match="'b' is a reward model"):
        asked("win_rate", tmp_path / "1", {"a": model, "b": reward, "reward": reward}, (data,))
    with pytest.raises(ConfigError, match="needs a model with the role 'reward'"):
        asked("win_rate", tmp_path / "1", {"a": model}, (data,))
    with pytest.raises(ConfigError, match="all 12 prompts are longer than 5 tokens"):
        asked("win_rate", tmp_path / "1", {"a": model, "reward": reward}, (data,), tokens=5)
