"""Interpolated modified Kneser-Ney n-gram models, estimated with array operations.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling", in the form that
KenLM's ``lmplz`` gives it (Heafield et al. 2013, "Scalable Modified Kneser-Ney Language Model Estimation"):

- The adjusted count a(w1..wn) is the number of occurrences for the highest order and for n-grams that open
  with ``<s>``; else it is the number of distinct words seen in front of the n-gram.
- With t_k the number of n-grams whose adjusted count is k, and Y = t1 / (t1 + 2 t2), the discounts of an
  order are D_k = k - (k + 1) Y t_(k+1) / t_k for k = 1, 2 and 3, the last for all counts from 3 on.
- p(w | c) = (a(c w) - D(a(c w))) / a(c) + g(c) p(w | c without its first word), with a(c) the sum of
  a(c x) over all x and the weight g(c) = sum of D(a(c x)) / a(c), so that probabilities sum to 1.
- Below the unigrams lies the uniform distribution over the vocabulary with ``<unk>`` and without ``<s>``.
- An n-gram pruned because it occurs too rarely gives its whole adjusted count to g(c).

One deviation: lmplz counts the very last n-gram of each lower order by its occurrences where it tabulates
t_k; here its adjusted count is used like that of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import InputError

UNKNOWN, BEGIN, END = 0, 1, 2  # ids of the first three words of every vocabulary
SPECIAL_WORDS = ("<unk>", "<s>", "</s>")
Discounts = tuple[float, float, float]
FALLBACK_DISCOUNTS: Discounts = (0.5, 1.0, 1.5)  # as lmplz --discount_fallback
Progress = Callable[[int, int, str], None]

_LINES_AT_ONCE = 1 << 17
_LEAST = 1e-99  # stands for a probability of zero, which has no logarithm


@dataclass
class Grams:
    """All n-grams of one length, in lexicographic order of their word ids.

    Attributes:
        context: ``int32[n]``, index among the (n-1)-grams of all words but the last.
        suffix: ``int32[n]``, index among the (n-1)-grams of all words but the first.
        word: ``int32[n]``, the last word.
        count: ``int32[n]``, occurrences.
        opens: ``bool[n]``, whether the first word is ``<s>``.
    """

    context: np.ndarray
    suffix: np.ndarray
    word: np.ndarray
    count: np.ndarray
    opens: np.ndarray

    def __len__(self) -> int:
        return len(self.word)


@dataclass
class Order:
    """What a model says of the n-grams of one length.

    Attributes:
        grams: the n-grams.
        kept: ``bool[n]``, false for those pruned.
        probability: ``float32[n]``, p(last word | the others).
        backoff: ``float32[n]``, interpolation weight of the n-gram as a context, 1 where it is none.
        discounts: D1, D2, D3+.
    """

    grams: Grams
    kept: np.ndarray
    probability: np.ndarray
    backoff: np.ndarray
    discounts: Discounts


@dataclass
class Model:
    """An estimated model.

    Attributes:
        vocabulary: words by id.
        orders: unigrams first.
    """

    vocabulary: Sequence[str]
    orders: list[Order]

    def sizes(self) -> list[int]:
        """Number of n-grams of each order, unigrams first."""
        return [int(order.kept.sum()) for order in self.orders]


def estimate(
    tokens: np.ndarray,
    vocabulary: Sequence[str],
    order: int = 5,
    prune: Sequence[int] = (),
    fallback: Discounts | None = FALLBACK_DISCOUNTS,
    on_progress: Progress | None = None,
) -> Model:
    """Estimate a model.

    Memory is about 120 bytes a token for a model of order 5, at the peak.

    Args:
        tokens: ``int32[n]`` word ids; every sentence is ``BEGIN words… END``.
        vocabulary: words by id; the first three are ``SPECIAL_WORDS``.
        order: greatest length of an n-gram.
        prune: for each order, the count up to which its n-grams are left out; the last value holds for
            all further orders.  Unigrams are never pruned, and the values may not fall.
        fallback: discounts of an order whose counts give none (small or repetitive text); None makes that
            an error.
        on_progress: called with (orders done, orders, what).

    Raises:
        InputError: unusable vocabulary, order, tokens or pruning; or no discounts without a fallback.
    """
    _check(tokens, vocabulary, order)
    thresholds = check_pruning(prune, order)
    report = on_progress or (lambda done, total, what: None)
    counted = count_grams(tokens, len(vocabulary), order, report)
    orders: list[Order] = []
    for n, grams in enumerate(counted, start=1):
        adjusted = _adjusted(grams, counted[n] if n < order else None)
        discounts = _discounts(adjusted, n, fallback)
        lower = orders[-1] if orders else None
        orders.append(_probabilities(grams, adjusted, discounts, thresholds[n - 1], lower))
        report(n, order, "estimating")
    return Model(vocabulary, orders)


def count_grams(tokens: np.ndarray, words: int, order: int, report: Progress) -> list[Grams]:
    """Count the n-grams of every order up to ``order`` that do not reach over a sentence's ``<s>``.

    An n-gram is numbered by the pair (number of its context, last word), so that each order is one sort of
    64-bit keys whatever its length.
    """
    occurrences = np.bincount(tokens, minlength=words).astype(np.int32)
    occurrences[BEGIN] = 0  # it is never predicted
    word_ids = np.arange(words, dtype=np.int32)
    nothing = np.zeros(words, np.int32)
    counted = [Grams(nothing, nothing, word_ids, occurrences, word_ids == BEGIN)]
    number = tokens.astype(np.int32)  # of the n-gram that ends at each position; -1 where there is none
    report(1, order, "counting")
    for n in range(2, order + 1):
        at = np.flatnonzero((number[:-1] >= 0) & (tokens[1:] != BEGIN)).astype(np.int32) + np.int32(1)
        keys = number[at - 1].astype(np.int64) * words + tokens[at]
        unique, inverse, count = np.unique(keys, return_inverse=True, return_counts=True)
        del keys
        suffix = np.empty(len(unique), np.int32)
        suffix[inverse] = number[at]
        context = (unique // words).astype(np.int32)
        word = (unique % words).astype(np.int32)
        number = np.full(len(tokens), -1, np.int32)
        number[at] = inverse
        counted.append(Grams(context, suffix, word, count.astype(np.int32), counted[-1].opens[context]))
        del at, unique, inverse, count
        report(n, order, "counting")
    return counted


def _adjusted(grams: Grams, longer: Grams | None) -> np.ndarray:
    """Adjusted counts, ``int32[n]``; ``longer`` holds the n-grams of the next order, None at the highest."""
    if longer is None:
        return grams.count
    extensions = np.bincount(longer.suffix, minlength=len(grams)).astype(np.int32)
    return np.where(grams.opens, grams.count, extensions)


def _discounts(adjusted: np.ndarray, n: int, fallback: Discounts | None) -> Discounts:
    """Equation 26 of Chen and Goodman; a discount outside [0, k] is of no use."""
    t = np.bincount(np.minimum(adjusted, 5), minlength=6)[:5].astype(float)
    if np.all(t[1:4] > 0):
        y = t[1] / (t[1] + 2 * t[2])
        found = tuple(float(k - (k + 1) * y * t[k + 1] / t[k]) for k in (1, 2, 3))
        if all(0 <= discount <= k for k, discount in enumerate(found, start=1)):
            return (found[0], found[1], found[2])
    if fallback is None:
        raise InputError(
            f"the counts of the {n}-grams give no Kneser-Ney discounts; the text is too small or repeats "
            "itself (remove duplicates, or allow fallback discounts)"
        )
    return fallback


def _probabilities(
    grams: Grams, adjusted: np.ndarray, discounts: Discounts, threshold: int, lower: Order | None
) -> Order:
    """Interpolate one order with the order below; fills in the backoffs of the order below."""
    kept = np.ones(len(grams), bool) if lower is None else grams.count > threshold
    discount = np.array([0.0, *discounts])[np.minimum(adjusted, 3)]
    freed = np.where(kept, discount, adjusted)  # mass that each n-gram leaves to the lower order
    if lower is None:
        total = adjusted.sum()
        uniform = 1.0 / (len(grams) - 1)  # over all words but <s>
        probability = (adjusted - discount) / total + freed.sum() / total * uniform
        probability[BEGIN] = 1.0  # so that KenLM can read it as a word without changing a score
    else:
        total = np.bincount(grams.context, weights=adjusted, minlength=len(lower.grams))
        mass = np.bincount(grams.context, weights=freed, minlength=len(lower.grams))
        weight = np.divide(mass, total, out=np.ones(len(lower.grams)), where=total > 0)
        lower.backoff = weight.astype(np.float32)
        probability = (adjusted - discount) / total[grams.context]
        probability += weight[grams.context] * lower.probability[grams.suffix]
    return Order(grams, kept, probability.astype(np.float32), np.ones(0, np.float32), discounts)


def write_arpa(model: Model, stream: BinaryIO, on_progress: Progress | None = None) -> None:
    """Write a model in ARPA format, n-grams in order of word ids; the same model gives the same bytes."""
    sizes = model.sizes()
    header = "".join(f"ngram {n}={size}\n" for n, size in enumerate(sizes, start=1))
    stream.write(f"\\data\\\n{header}".encode())
    words = pa.array(model.vocabulary, pa.large_string())
    done = 0
    for n, order in enumerate(model.orders, start=1):
        stream.write(f"\n\\{n}-grams:\n".encode())
        rows = np.flatnonzero(order.kept)
        for start in range(0, len(rows), _LINES_AT_ONCE):
            some = rows[start : start + _LINES_AT_ONCE]
            stream.write(_lines(model.orders[:n], some, words, last=n == len(sizes)))
            done += len(some)
            if on_progress:
                on_progress(done, sum(sizes), "writing")
    stream.write(b"\n\\end\\\n")


def _lines(orders: Sequence[Order], rows: np.ndarray, words: pa.LargeStringArray, last: bool) -> memoryview:
    """ARPA lines of some n-grams of the highest of ``orders``: probability, words, backoff."""
    columns = []
    at = rows
    for order in reversed(orders):
        columns.append(words.take(pa.array(order.grams.word[at])))
        at = order.grams.context[at]
    columns.reverse()
    gram = pc.binary_join_element_wise(*columns, pa.scalar(" ", pa.large_string()))
    parts = [_logarithm(orders[-1].probability[rows]), gram]
    if not last:
        parts.append(_logarithm(orders[-1].backoff[rows]))
    lines = pc.binary_join_element_wise(*parts, pa.scalar("\t", pa.large_string()))
    empty, line_feed = pa.scalar("", pa.large_string()), pa.scalar("\n", pa.large_string())
    lines = pc.binary_join_element_wise(lines, empty, line_feed)  # each line ends in a line feed
    return memoryview(lines.buffers()[2])


def _logarithm(values: np.ndarray) -> pa.LargeStringArray:
    """Base-10 logarithms, never above 0, as the shortest decimal that reads back as the same float32."""
    logarithms = np.minimum(np.log10(np.maximum(values.astype(float), _LEAST)), 0.0).astype(np.float32)
    logarithms += np.float32(0.0)  # no negative zero
    return pa.array(logarithms).cast(pa.large_string())


def check_pruning(prune: Sequence[int], order: int) -> list[int]:
    """Pruning thresholds for every order; ``InputError`` if they are not as ``estimate`` says."""
    given = list(prune) or [0]
    if len(given) > order or given[0] != 0 or any(a > b for a, b in pairwise(given)):
        raise InputError(f"pruning thresholds must start with 0, not fall, and be at most {order}: {list(prune)}")
    return given + [given[-1]] * (order - len(given))


def _check(tokens: np.ndarray, vocabulary: Sequence[str], order: int) -> None:
    if not 1 <= order <= 6:
        raise InputError(f"the order of a model is 1 to 6 (KenLM's limit), not {order}")
    if tuple(vocabulary[:3]) != SPECIAL_WORDS:
        raise InputError(f"a vocabulary starts with {', '.join(SPECIAL_WORDS)}")
    if any(not word or set(word) & set("\0\t\n\v\f\r ") for word in vocabulary):
        raise InputError("a word of an ARPA vocabulary is neither empty nor holds white space")
    if len(set(vocabulary)) != len(vocabulary):
        raise InputError("a word stands twice in the vocabulary")
    if len(tokens) < 2 or tokens[0] != BEGIN or tokens[-1] != END:
        raise InputError("there is no sentence to count: tokens are <s> words… </s>")
    if len(tokens) >= 1 << 31:
        raise InputError("more than 2**31 tokens: take a sample of the corpus")
