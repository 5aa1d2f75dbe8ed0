"""Tasks whose answers were planted: what a model must carry over a long row is known, and so is the right answer.

A loss curve does not tell whether a model remembers: most of it is local.  These rows are noise except for what was
planted, and the answer is asked for at their end.

Shapes: R rows, T tokens of a row.

Every task is a pure function ``task(seed, rows, length)`` for lengths from 128 on.  Nothing is planted in the last
eighth of a row, so that with chunks of that length or shorter the answer is never in the last one; ``copy`` is the
exception, it asks for what was said last.  Symbols are shared by all tasks (there are ``VOCAB``), so that one model can
be trained on a mixture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NOISE, VALUES, KEYS, EVENTS, LABELS = 0, 16, 32, 40, 48
"""Where kinds of symbols begin: 16 of noise, 16 values, 8 keys, 8 events, 4 labels."""
ASK, QUOTE, MARKERS, FACTS, VOCAB = 52, 53, 54, 64, 192
"""The question, the beginning of what will be quoted, two marker words per label, a fact for each key and value, and
how many symbols there are."""
NO_ANSWER = -100


class Planted(NamedTuple):
    """Rows and what they ask."""

    tokens_RT: Ints
    answers_RT: Ints
    """At the position before it, the token to be answered; NO_ANSWER elsewhere."""


Task = Callable[[int, int, int], Planted]


def gist(seed: int, rows: int, length: int) -> Planted:
    """Which symbol was three times as frequent as any other in the first half?  Chance: 1/16."""
    random = np.random.default_rng(seed)
    tokens_RT = _noise(random, rows, length)
    answer_R = random.integers(16, size=rows)
    often_RT = random.random((rows, length // 2)) < 1 / 9  # with those drawn anyway: 3/18 against 1/18
    tokens_RT[:, : length // 2] = np.where(often_RT, NOISE + answer_R[:, None], tokens_RT[:, : length // 2])
    return _ask(tokens_RT, np.full((rows, 1), ASK), NOISE + answer_R[:, None])


def needle(seed: int, rows: int, length: int) -> Planted:
    """Eight facts, each the value of a key, were told once; what is the value of this key?  Chance: 1/16."""
    return _needles(seed, rows, length, 1)


def needles(seed: int, rows: int, length: int) -> Planted:
    """The values of all eight keys, asked for in any order.  Chance: 1/16."""
    return _needles(seed, rows, length, 8)


def _needles(seed: int, rows: int, length: int, asked: int) -> Planted:
    random = np.random.default_rng(seed)
    tokens_RT = _noise(random, rows, length)
    keys_R8 = _shuffled(random, rows, 8)
    values_R8 = random.integers(16, size=(rows, 8))
    each_R1 = np.arange(rows)[:, None]
    tokens_RT[each_R1, _places(random, rows, 8, length - length // 8)] = FACTS + 16 * keys_R8 + values_R8
    order_R8 = _shuffled(random, rows, 8)[:, :asked]
    return _ask(tokens_RT, KEYS + keys_R8[each_R1, order_R8], VALUES + values_R8[each_R1, order_R8])


def ordering(seed: int, rows: int, length: int) -> Planted:
    """Four of eight events happened; which came first, and which last?  Chance: 1/4."""
    random = np.random.default_rng(seed)
    tokens_RT = _noise(random, rows, length)
    events_R4 = EVENTS + _shuffled(random, rows, 8)[:, :4]
    tokens_RT[np.arange(rows)[:, None], _places(random, rows, 4, length - length // 8)] = events_R4
    return _ask(tokens_RT, np.full((rows, 2), ASK), events_R4[:, [0, 3]])


def classify(seed: int, rows: int, length: int) -> Planted:
    """Marker words of every label are strewn in, those of one label twice as many; which?  Chance: 1/4."""
    random = np.random.default_rng(seed)
    tokens_RT = _noise(random, rows, length)
    label_R = random.integers(4, size=rows)
    each_R1, few = np.arange(rows)[:, None], max(1, length // 64)
    labels_RM = np.concatenate((np.tile(np.repeat(np.arange(4), few), (rows, 1)), np.tile(label_R[:, None], few)), 1)
    words_RM = MARKERS + 2 * labels_RM + random.integers(2, size=labels_RM.shape)
    tokens_RT[each_R1, _places(random, rows, words_RM.shape[1], length - length // 8)] = words_RM
    return _ask(tokens_RT, np.full((rows, 1), ASK), LABELS + label_R[:, None])


def copy(seed: int, rows: int, length: int) -> Planted:
    """A passage in the last quarter of the row, a sixteenth of it and up to 64 words, word by word.  Chance: 1/128."""
    random = np.random.default_rng(seed)
    tokens_RT = _noise(random, rows, length)
    passage = min(length // 16, 64)
    asked = length - passage  # the mark is repeated there, and the passage but for its last word behind it
    at_R1 = random.integers(length - length // 4, asked - passage - 1, size=(rows, 1))
    each_R1, words_RP = np.arange(rows)[:, None], FACTS + _shuffled(random, rows, 128)[:, :passage]
    tokens_RT[each_R1, at_R1] = tokens_RT[each_R1, asked] = QUOTE
    tokens_RT[each_R1, at_R1 + 1 + np.arange(passage)] = words_RP
    tokens_RT[:, asked + 1 :] = words_RP[:, :-1]
    return Planted(tokens_RT, _answers(tokens_RT, np.arange(asked, length), words_RP))


TASKS: dict[str, Task] = {
    "gist": gist,
    "needle": needle,
    "needles": needles,
    "ordering": ordering,
    "classify": classify,
    "copy": copy,
}


def accuracy(guesses_RT: Ints, answers_RT: Ints) -> float:
    """Share of answers that are right; ``guesses_RT`` are made at every position."""
    asked_RT = answers_RT != NO_ANSWER
    return float((guesses_RT == answers_RT)[asked_RT].mean())


def _noise(random: Generator, rows: int, length: int) -> Ints:
    return NOISE + random.integers(16, size=(rows, length))


def _shuffled(random: Generator, rows: int, count: int) -> Ints:
    return random.permuted(np.tile(np.arange(count), (rows, 1)), axis=1)


def _places(random: Generator, rows: int, count: int, end: int) -> Ints:
    """``count`` places per row before ``end``, in order."""
    return np.sort([random.choice(end, size=count, replace=False) for _ in range(rows)], axis=1)


def _ask(tokens_RT: Ints, questions_RQ: Ints, right_RQ: Ints) -> Planted:
    """Ask at the end of the row; the answer to each question follows it, but for the last, which is to be guessed."""
    length, asked = tokens_RT.shape[1], questions_RQ.shape[1]
    at_Q = length - 1 - 2 * np.arange(asked)[::-1]
    tokens_RT[:, at_Q] = questions_RQ
    tokens_RT[:, at_Q[:-1] + 1] = right_RQ[:, :-1]
    return Planted(tokens_RT, _answers(tokens_RT, at_Q, right_RQ))


def _answers(tokens_RT: Ints, at_Q: Ints, right_RQ: Ints) -> Ints:
    answers_RT = np.full_like(tokens_RT, NO_ANSWER)
    answers_RT[:, at_Q] = right_RQ
    return answers_RT
