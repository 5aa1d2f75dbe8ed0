"""Planted tasks: the answer is what the row says, and chance is chance."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from trainer.evaluate.planted import (
    ASK,
    EVENTS,
    FACTS,
    KEYS,
    LABELS,
    MARKERS,
    NO_ANSWER,
    QUOTE,
    TASKS,
    VALUES,
    VOCAB,
    Planted,
    accuracy,
)  # fmt: skip

LENGTHS = [128, 256, 1000]


def rows_of(task: str, length: int, rows: int = 40) -> list[tuple[list[int], dict[int, int]]]:
    """Tokens of each row, and its answers by position."""
    made = TASKS[task](7, rows, length)
    assert made.tokens_RT.shape == made.answers_RT.shape == (rows, length)
    assert made.tokens_RT.min() >= 0
    assert made.tokens_RT.max() < VOCAB
    positions = [np.flatnonzero(answers != NO_ANSWER) for answers in made.answers_RT]
    return [
        (tokens.tolist(), {int(t): int(answers[t]) for t in at})
        for tokens, answers, at in zip(made.tokens_RT, made.answers_RT, positions, strict=True)
    ]


@pytest.mark.parametrize("task", TASKS)
def test_rows_come_from_the_seed(task: str) -> None:
    one, same, other = (TASKS[task](seed, 9, 256) for seed in (1, 1, 2))
    assert np.array_equal(one.tokens_RT, same.tokens_RT)
    assert not np.array_equal(one.tokens_RT, other.tokens_RT)


@pytest.mark.parametrize("length", LENGTHS)
def test_gist_is_the_most_frequent_symbol(length: int) -> None:
    rows = rows_of("gist", length, 200)
    right = [Counter(tokens[: length // 2]).most_common(1)[0][0] == answers[length - 1] for tokens, answers in rows]
    assert np.mean(right) > {128: 0.7, 256: 0.9, 1000: 0.99}[length]
    assert all(tokens[-1] == ASK for tokens, _ in rows)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("task", ["needle", "needles"])
def test_needles_are_in_the_row(task: str, length: int) -> None:
    for tokens, answers in rows_of(task, length):
        told = [token - FACTS for token in tokens[: length - length // 8] if token >= FACTS]
        facts = {KEYS + fact // 16: VALUES + fact % 16 for fact in told}
        assert len(facts) == len(told) == 8
        assert len(answers) == {"needle": 1, "needles": 8}[task]
        assert max(answers) == length - 1
        assert all(facts[tokens[t]] == answer for t, answer in answers.items())


@pytest.mark.parametrize("length", LENGTHS)
def test_ordering_asks_for_the_first_and_the_last(length: int) -> None:
    for tokens, answers in rows_of("ordering", length):
        told = [token for token in tokens[: length - length // 8] if token in range(EVENTS, EVENTS + 8)]
        assert len(set(told)) == len(told) == 4
        assert answers == {length - 3: told[0], length - 1: told[3]}
        assert tokens[-3:] == [ASK, told[0], ASK]


@pytest.mark.parametrize("length", LENGTHS)
def test_classes_are_told_by_their_words(length: int) -> None:
    for tokens, answers in rows_of("classify", length):
        words = Counter((token - MARKERS) // 2 for token in tokens if MARKERS <= token < FACTS)
        (label, most), (_, second) = words.most_common(2)
        assert most == 2 * second
        assert answers == {length - 1: LABELS + label}


@pytest.mark.parametrize("length", LENGTHS)
def test_copies_repeat_the_passage(length: int) -> None:
    for tokens, answers in rows_of("copy", length):
        begin, again = (t for t, token in enumerate(tokens) if token == QUOTE)
        said = [answers[t] for t in sorted(answers)]
        assert said == tokens[begin + 1 : begin + 1 + length // 16]
        assert said[:-1] == tokens[again + 1 :]
        assert length - length // 4 <= begin < begin + length // 16 < again


def test_accuracy_looks_at_answers_only() -> None:
    made = Planted(np.zeros((1, 4), dtype=np.int64), np.array([[NO_ANSWER, 3, NO_ANSWER, 5]]))
    assert accuracy(np.array([[9, 3, 9, 4]]), made.answers_RT) == 0.5
