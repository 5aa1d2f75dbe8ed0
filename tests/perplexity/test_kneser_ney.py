from __future__ import annotations

import io
import math
import random
import shutil
import subprocess
from pathlib import Path

import kenlm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from curation.perplexity.kneser_ney import (
    FALLBACK_DISCOUNTS,
    SPECIAL_WORDS,
    check_pruning,
    estimate,
    write_arpa,
)
from tests.perplexity.twins import NaiveKneserNey

Sentences = list[list[str]]


def as_tokens(sentences: Sentences) -> tuple[np.ndarray, list[str]]:
    ids = {word: number for number, word in enumerate(SPECIAL_WORDS)}
    tokens = [ids.setdefault(word, len(ids)) for sentence in sentences for word in ["<s>", *sentence, "</s>"]]
    return np.array(tokens, np.int32), list(ids)


def arpa_of(sentences: Sentences, order: int, prune: tuple[int, ...] = ()) -> bytes:
    stream = io.BytesIO()
    write_arpa(estimate(*as_tokens(sentences), order, prune), stream)
    return stream.getvalue()


def parsed(arpa: bytes) -> dict[tuple[str, ...], tuple[float, float]]:
    """Log-probability and log-backoff of each n-gram."""
    lines = [line.split("\t") for line in arpa.decode().splitlines() if "\t" in line]
    return {tuple(p[1].split(" ")): (float(p[0]), float(p[2]) if len(p) > 2 else 0.0) for p in lines}


def zipf_corpus(seed: int, sentences: int, words: int = 40) -> Sentences:
    rng = random.Random(seed)
    weights = [1 / rank for rank in range(1, words + 1)]
    names = [f"w{i}" for i in range(words)]
    return [rng.choices(names, weights, k=rng.randrange(0, 14)) for _ in range(sentences)]


def test_a_model_worked_out_by_hand() -> None:
    # One sentence "a": two bigrams, seen once each, so D1 = 0.5 by fallback.  Unigrams: a and </s> each have
    # one word before them; half of the mass, 1/2, is spread over a, </s> and <unk>.
    model = parsed(arpa_of([["a"]], 2))
    a = 0.25 + 0.5 / 3
    expected = {
        ("<unk>",): (0.5 / 3, 1.0),
        ("<s>",): (1.0, 0.5),
        ("</s>",): (a, 1.0),
        ("a",): (a, 0.5),
        ("<s>", "a"): (0.5 + 0.5 * a, 1.0),
        ("a", "</s>"): (0.5 + 0.5 * a, 1.0),
    }
    assert model.keys() == expected.keys()
    for gram, values in expected.items():
        assert model[gram] == pytest.approx(tuple(map(math.log10, values)), abs=1e-6)


def test_discounts_follow_equation_26() -> None:
    # Words with 1, 1, 1, 1, 2, 2, 3, 4 occurrences (</s> has more): t1..t4 = 4, 2, 1, 1, so Y = 4/8.
    words = ["a", "b", "c", "d", *"ee", *"ff", *"ggg", *"hhhh"]
    model = estimate(*as_tokens([words] + [[]] * 6), 1)
    assert model.orders[0].discounts == pytest.approx((1 - 2 * 0.5 * 2 / 4, 2 - 3 * 0.5 / 2, 3 - 4 * 0.5))


CORPORA = st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), min_size=1, max_size=30)


@settings(max_examples=80, deadline=None)
@given(CORPORA, st.integers(1, 4), st.sampled_from([(0,), (0, 0, 1), (0, 1, 1, 2), (0, 1)]))
def test_small_corpora_agree_with_the_twin(sentences: Sentences, order: int, prune: tuple[int, ...]) -> None:
    prune = prune[:order]
    assert_equals_twin(sentences, order, prune)


@pytest.mark.parametrize("prune", [(0,), (0, 0, 1), (0, 1, 2, 2)])
def test_a_corpus_with_real_discounts_agrees_with_the_twin(prune: tuple[int, ...]) -> None:
    sentences = zipf_corpus(1, 500)
    model = estimate(*as_tokens(sentences), 4, prune)
    assert all(order.discounts != FALLBACK_DISCOUNTS for order in model.orders[1:])
    assert_equals_twin(sentences, 4, prune)


def assert_equals_twin(sentences: Sentences, order: int, prune: tuple[int, ...]) -> None:
    model = parsed(arpa_of(sentences, order, prune))
    twin = NaiveKneserNey(sentences, order, check_pruning(prune, order), FALLBACK_DISCOUNTS)
    kept = set().union(*twin.kept[1:])
    assert model.keys() == kept | {("<unk>",), ("<s>",)}
    for gram, (probability, backoff) in model.items():
        if gram != ("<s>",):
            assert probability == pytest.approx(math.log10(twin.probability(gram)), abs=1e-6), gram
        weight = twin.weight(gram) if len(gram) < order else 1.0
        assert backoff == pytest.approx(math.log10(weight) if weight else -99, abs=1e-6), gram


@pytest.mark.parametrize("prune", [(), (0, 0, 1), (0, 1, 1, 3)])
def test_probabilities_sum_to_one_in_kenlm(tmp_path: Path, prune: tuple[int, ...]) -> None:
    sentences = zipf_corpus(2, 400)
    path = tmp_path / "model.arpa"
    path.write_bytes(arpa_of(sentences, 4, prune))
    model = kenlm.Model(str(path))
    _, vocabulary = as_tokens(sentences)
    words = [word for word in vocabulary if word != "<s>"]
    contexts = [[], ["w0"], ["w1", "w0"], ["w0", "w0", "w1"], ["unseen", "w2"], ["w39", "w38", "w37"]]
    for context in contexts:
        for start in (True, False):
            state, after = kenlm.State(), kenlm.State()
            (model.BeginSentenceWrite if start else model.NullContextWrite)(state)
            for word in context:
                model.BaseScore(state, word, after)
                state, after = after, kenlm.State()
            total = sum(10 ** model.BaseScore(state, word, kenlm.State()) for word in words)
            assert total == pytest.approx(1, abs=2e-5), (context, start)


def test_kenlm_reads_every_ngram_back(tmp_path: Path) -> None:
    arpa = arpa_of(zipf_corpus(3, 200), 3)
    (tmp_path / "model.arpa").write_bytes(arpa)
    model = kenlm.Model(str(tmp_path / "model.arpa"))
    assert model.order == 3
    for gram, (probability, _) in parsed(arpa).items():
        if gram[0] == "<s>" or len(gram) < 2:
            continue
        state, after = kenlm.State(), kenlm.State()
        model.NullContextWrite(state)
        for word in gram:
            scored = model.BaseScore(state, word, after)
            state, after = after, kenlm.State()
        assert scored == pytest.approx(probability, abs=1e-6)


def test_arpa_has_its_counts_and_is_in_vocabulary_order() -> None:
    sentences = zipf_corpus(4, 100)
    arpa = arpa_of(sentences, 3)
    _, vocabulary = as_tokens(sentences)
    rank = {word: number for number, word in enumerate(vocabulary)}
    header = [line for line in arpa.decode().splitlines() if line.startswith("ngram ")]
    grams = list(parsed(arpa))
    by_order = [[[rank[word] for word in gram] for gram in grams if len(gram) == n] for n in (1, 2, 3)]
    assert header == [f"ngram {n}={len(by_order[n - 1])}" for n in (1, 2, 3)]
    assert all(ranks == sorted(ranks) for ranks in by_order)
    assert arpa == arpa_of(sentences, 3)


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="KenLM's lmplz is not on PATH")
@pytest.mark.parametrize("prune", [(0,), (0, 0, 1), (0, 1, 2, 2)])
def test_equals_lmplz(tmp_path: Path, prune: tuple[int, ...]) -> None:
    # The new word at the end makes the last n-gram of each order one that lmplz counts like the others.
    sentences = [*zipf_corpus(5, 3000), ["the-last-word"]]
    text = "".join(" ".join(sentence) + "\n" for sentence in sentences)
    arguments = ["lmplz", "-o", "4", "-S", "64M", "--discount_fallback", "-T", str(tmp_path / "sort")]
    done = subprocess.run(
        [*arguments, "--prune", *map(str, prune)], input=text.encode(), capture_output=True, check=True
    )
    theirs, ours = parsed(done.stdout), parsed(arpa_of(sentences, 4, prune))
    assert ours.keys() == theirs.keys()
    for gram, values in ours.items():
        assert values == pytest.approx(theirs[gram], abs=2e-6), gram


@pytest.mark.parametrize("prune", [(1,), (0, 2, 1), (0, 0, 0, 1)])
def test_bad_pruning(prune: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="pruning"):
        estimate(*as_tokens([["a"]]), 3, prune)


def test_bad_input() -> None:
    tokens, words = as_tokens([["a", "b"]])
    with pytest.raises(InputError, match="order"):
        estimate(tokens, words, 7)
    with pytest.raises(InputError, match="no sentence"):
        estimate(tokens[1:], words, 2)
    with pytest.raises(InputError, match="starts with"):
        estimate(tokens, words[1:], 2)
    with pytest.raises(InputError, match="white space"):
        estimate(tokens, [*words[:-1], "b c"], 2)
    with pytest.raises(InputError, match="twice"):
        estimate(tokens, [*words[:-1], "a"], 2)
    with pytest.raises(InputError, match="discounts"):
        estimate(tokens, words, 2, fallback=None)
