"""Streams of batches: each token once, no document crossed, and the same again from wherever one stopped."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.corpus import english
from tests.trainer.published import CONVERSATIONS, PAIRS, TEXT, milled, pair, publish, turn
from trainer.data import chat
from trainer.data.batches import Batch, Packed
from trainer.data.cache import Entry
from trainer.data.dataset import open_dataset
from trainer.data.documents import Documents
from trainer.data.encode import encoded
from trainer.data.pairs import PairBatch, Pairs
from trainer.data.prompts import PromptBatch, Prompts
from trainer.data.streams import Prefetch, Stream
from trainer.data.tokenizer import ByteTokenizer, Vocabulary, fit
from trainer.errors import DataError, StateError

TOKENIZER = ByteTokenizer()
PAD = TOKENIZER.pad


def numbered(lengths: Iterable[int], learned: bool = False) -> Documents:
    """Documents in which every token says which it is: 1000 times the document, plus its place."""
    rows = [np.arange(length, dtype=np.uint32) + 1000 * n for n, length in enumerate(lengths)]
    count = len(rows)
    arrays = {"tokens": np.concatenate(rows), "tokens.ends": np.cumsum([len(row) for row in rows]),
              "split": np.full(count, -1, np.int8), "hash": np.arange(count, dtype=np.uint64) << np.uint64(55),
              "language": np.zeros(count, np.int32), "domain": np.full(count, -1, np.int32)}  # fmt: skip
    if learned:
        arrays |= {"learned": arrays["tokens"] % 3 == 0, "learned.ends": arrays["tokens.ends"]}
    kind = "instructions" if learned else "corpus"
    return Documents([Entry(arrays, {"kind": kind, "rows": count, "language": ["en"], "domain": []})])


def packed(documents: Documents, seed: int = 1, **options: Any) -> Packed:
    order = documents.mixture(documents.train(), seed)
    return Packed(documents, order, **{"rows": 2, "tokens": 24, "chunk": 8, "padding": 10**6, "window": 10, **options})


def check_batch(batch: Batch, learned: Callable[[np.ndarray], np.ndarray] | None = None) -> tuple[Counter, Counter]:
    """What holds of each batch of ``numbered`` documents; its tokens and its targets."""
    tokens, documents, targets = (array.numpy() for array in batch)
    assert all(array.dtype == torch.int64 for array in batch)
    assert np.array_equal(documents < 0, tokens == 10**6)
    assert (targets[documents < 0] == -100).all()
    for row in range(len(tokens)):
        present = documents[row][documents[row] >= 0]
        assert (np.diff(present) >= 0).all() and np.array_equal(
            np.unique(present), np.arange(present.max(initial=-1) + 1)
        )
        for number in np.unique(present):
            piece = tokens[row][documents[row] == number]
            assert np.array_equal(piece, piece[0] + np.arange(len(piece))) and piece[0] // 1000 == piece[-1] // 1000
    some = targets >= 0
    assert (targets[some] == tokens[some] + 1).all()
    return Counter(tokens[documents >= 0].tolist()), Counter(targets[some].tolist())


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=40), chunk=st.sampled_from([1, 4, 8, 24, None]),
    window=st.integers(1, 50), rows=st.integers(1, 4), epochs=st.integers(1, 2), learned=st.booleans(),
)  # fmt: skip
def test_every_token_once_an_epoch_and_learned_once(
    lengths: list[int], chunk: int | None, window: int, rows: int, epochs: int, learned: bool
) -> None:
    documents = numbered(lengths, learned)
    tokens, targets = Counter(), Counter()  # type: ignore[var-annotated]
    for batch in packed(documents, chunk=chunk, window=window, rows=rows, epochs=epochs):
        assert batch.tokens_BT.shape == (rows, 24)
        found = check_batch(batch)
        tokens, targets = tokens + found[0], targets + found[1]
    every = [1000 * n + place for n, length in enumerate(lengths) for place in range(length)]
    assert tokens == Counter(every * epochs)
    wanted = [token for token in every if token % 1000 and (not learned or token % 3 == 0)]
    assert targets == Counter(wanted * epochs)  # also across the cuts of a document


@given(steps=st.integers(0, 40), window=st.integers(1, 30), seed=st.integers(0, 5))
@settings(max_examples=30)
def test_packed_rows_go_on_from_wherever_one_stopped(steps: int, window: int, seed: int) -> None:
    documents = numbered(range(1, 60))
    whole = packed(documents, seed, window=window)
    for _ in range(steps):
        next(whole)
    state = whole.state()
    assert set(state) == {"window", "row"} and all(type(value) is int for value in state.values())
    again = packed(documents, seed, window=window)
    again.restore(state)
    same_batches(whole, again, 5)
    whole.restore(state)  # and back
    again.restore(state)
    same_batches(whole, again, 2)


def same_batches(first: Iterable[Any], second: Iterable[Any], count: int) -> None:
    for a, b in itertools.islice(zip(first, second, strict=True), count):
        for left, right in zip(a, b, strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("rows", "world"), [(6, 1), (3, 2), (2, 3), (1, 6)])
def test_any_number_of_ranks_reads_the_same_rows(rows: int, world: int) -> None:
    documents = numbered(range(1, 60))
    alone = packed(documents, rows=6)
    ranks = [packed(documents, rows=rows, rank=rank, world=world) for rank in range(world)]
    for _ in range(30):
        whole, parts = next(alone), [next(rank) for rank in ranks]
        for field in range(3):
            together = torch.stack([part[field] for part in parts], dim=1).flatten(0, 1)
            assert torch.equal(together, whole[field])
        assert all(rank.state() == alone.state() for rank in ranks)
    other = packed(documents, rows=3, rank=1, world=2)  # saved by six, gone on by two
    other.restore(ranks[0].state())
    assert torch.equal(next(other).tokens_BT, next(alone).tokens_BT[1::2])


def test_seeds_are_other_orders_and_the_epoch_is_told() -> None:
    documents = numbered([20] * 50)
    first, second = (next(packed(documents, seed)).tokens_BT for seed in (1, 2))
    assert not torch.equal(first, second)
    stream = packed(documents, window=10)
    while stream.epoch < 2:
        next(stream)
    assert stream.state()["window"] == 10


def test_memory_is_that_of_a_window() -> None:
    import tracemalloc

    documents = numbered([30] * 20_000)
    stream = packed(documents, window=100)
    tracemalloc.start()
    for _ in range(200):
        next(stream)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("state", [{}, {"window": 1}, {"window": -1, "row": 0}, {"window": 1, "row": 0, "x": 1}])
def test_what_is_no_state(state: dict[str, int]) -> None:
    with pytest.raises(StateError, match="no position"):
        packed(numbered([5])).restore(state)


# Pairs and prompts


def preferences(folder: Path, rows: list[dict[str, Any]]) -> Documents:
    return Documents([encoded(open_dataset(str(publish(folder / "set", "preferences", rows))), TOKENIZER, folder)])


def said(batch: PairBatch, sequence: int) -> tuple[str, str]:
    """A sequence as text, and what is learned of it."""
    tokens, targets = batch.tokens_ST[sequence], batch.targets_ST[sequence]
    assert (batch.documents_ST[sequence] >= 0).sum() == batch.ends_S[sequence] + 1
    assert (tokens[batch.ends_S[sequence] + 1 :] == PAD).all() and (targets[batch.ends_S[sequence] :] == -100).all()
    chosen = targets >= 0
    assert torch.equal(targets[chosen], tokens[1:][chosen[:-1]])
    whole = TOKENIZER.decode(tokens[: batch.ends_S[sequence] + 1], special=True)
    return whole, TOKENIZER.decode(targets[chosen], special=True)


RANKED = [
    *(pair("p", a, b, ranking_id="r", margin=float(m)) for a, b, m in [("x", "y", 1), ("x", "z", 2), ("y", "z", 1)]),
    pair("q", "good", "bad"),
    pair("p", "x", "no"),
]


def test_pairs_one_by_one(tmp_path: Path) -> None:
    documents = preferences(tmp_path, RANKED)
    stream = Pairs(documents, documents.train(), groups=2, tokens=64, padding=PAD, seed=1, grouped=False, epochs=1)
    seen = []
    for batch in stream:
        assert batch.tokens_ST.shape[1] % 8 == 0 and (batch.weight_P == 1).all()
        for n, row in enumerate(batch.rows_P.tolist()):
            whole = [said(batch, int(side[n])) for side in (batch.chosen_P, batch.rejected_P)]
            prompt = f"<|bos|><|user|>{RANKED[row]['prompt'][0]['content']}<|end|><|assistant|>"
            for (text, learned), side in zip(whole, ("chosen", "rejected"), strict=True):
                answer = RANKED[row][side][0]["content"] + "<|end|>"
                assert (text, learned) == (prompt + answer, answer)
            margin = RANKED[row].get("margin")
            assert np.isnan(batch.margin_P[n]) if margin is None else batch.margin_P[n] == margin
            seen.append(row)
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_a_ranking_is_one_group_and_its_answers_are_read_once(tmp_path: Path) -> None:
    documents = preferences(tmp_path, RANKED)
    stream = Pairs(documents, documents.train(), groups=1, tokens=64, padding=PAD, seed=3, epochs=1)
    batches = {tuple(batch.rows_P.tolist()): batch for batch in stream}
    assert set(batches) == {(0, 1, 2), (3,), (4,)}
    ranking = batches[0, 1, 2]
    answers = [said(ranking, n)[1].removesuffix("<|end|>") for n in range(len(ranking.ends_S))]
    assert sorted(answers) == ["x", "y", "z"]
    compared = [(answers[a], answers[b]) for a, b in zip(ranking.chosen_P, ranking.rejected_P, strict=True)]
    assert compared == [("x", "y"), ("x", "z"), ("y", "z")]
    assert ranking.weight_P.sum() == pytest.approx(1) and ranking.weight_P.dtype == torch.float64
    together = next(Pairs(documents, documents.train(), groups=3, tokens=64, padding=PAD, seed=3))
    assert len(together.rows_P) == 5 and together.weight_P.sum() == pytest.approx(3)


def test_prompts_lose_their_begin_and_answers_nothing(tmp_path: Path) -> None:
    rows = [pair("p" * 100, "good", "much too long" * 2), pair("q", "a" * 70, "b"), pair("r", "a", "b")]
    documents = preferences(tmp_path, rows)
    stream = Pairs(documents, documents.train(), groups=2, tokens=32, padding=PAD, seed=1, epochs=1)
    assert stream.left_out == 1
    batch = next(stream)
    texts = {row: said(batch, int(n))[0] for row, n in zip(batch.rows_P.tolist(), batch.rejected_P, strict=True)}
    assert texts == {
        0: "ppp<|end|><|assistant|>" + "much too long" * 2 + "<|end|>",
        2: "<|bos|><|user|>r<|end|><|assistant|>b<|end|>",
    }
    with pytest.raises(DataError, match="no pair to train on that fits"):
        Pairs(documents, documents.train(), groups=2, tokens=0, padding=PAD, seed=1)


def test_prompts_come_once(tmp_path: Path) -> None:
    documents = preferences(tmp_path, [*RANKED, pair("l" * 90, "a", "b")])
    stream = Prompts(documents, documents.train(), prompts=3, tokens=20, padding=PAD, seed=1, epochs=1)
    assert len(stream) == 2 and stream.left_out == 1
    (batch,) = stream
    assert {TOKENIZER.decode(t[:n], special=True) for t, n in zip(batch.tokens_BT, batch.lengths_B, strict=True)} == {
        f"<|bos|><|user|>{name}<|end|><|assistant|>" for name in "pq"
    }


def test_prompts_of_conversations_end_before_the_last_answer(tmp_path: Path) -> None:
    talk = [turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", ""), turn("assistant", "d")]
    folder = publish(tmp_path / "set", "instructions", [{"id": "1", "messages": talk, "tools": "[7]"}])
    documents = Documents([encoded(open_dataset(str(folder)), TOKENIZER, tmp_path)])
    batch = next(Prompts(documents, documents.train(), prompts=1, tokens=64, padding=PAD, seed=1))
    expected = chat.prompt([turn("system", "[7]"), *talk[:-1]], TOKENIZER)
    assert batch.tokens_BT[0].tolist() == expected.tolist() and batch.lengths_B.tolist() == [len(expected)]


def test_streams_refuse_what_they_cannot_read(tmp_path: Path) -> None:
    corpus, pairs = numbered([3]), preferences(tmp_path, RANKED)
    with pytest.raises(DataError, match="pairs are not packed"):
        packed(pairs)
    with pytest.raises(DataError, match="read from preferences, not from corpus"):
        Pairs(corpus, corpus.train(), groups=1, tokens=8, padding=PAD, seed=1)
    with pytest.raises(DataError, match="not from a corpus"):
        Prompts(corpus, corpus.train(), prompts=1, tokens=8, padding=PAD, seed=1)
    with pytest.raises(DataError, match="no multiple of 8"):
        Pairs(pairs, pairs.train(), groups=1, tokens=9, padding=PAD, seed=1)
    with pytest.raises(DataError, match="no prompt that fits"):
        Prompts(pairs, pairs.train(), prompts=1, tokens=2, padding=PAD, seed=1)
    with pytest.raises(DataError, match="of one kind"):
        Documents([*corpus.entries, *pairs.entries])


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    rows = [pair(f"p{n // 3}", f"x{n}", f"y{n % 2}", ranking_id=f"r{n // 3}" if n % 4 else None) for n in range(40)]
    return preferences(tmp_path_factory.mktemp("some"), rows)


MAKERS: list[Callable[..., Stream[Any]]] = [
    lambda d, **o: Pairs(d, d.train(), groups=o.pop("share", 2), tokens=32, padding=PAD, seed=1, **o),
    lambda d, **o: Prompts(d, d.train(), prompts=o.pop("share", 2), tokens=32, padding=PAD, seed=1, **o),
    lambda d, **o: packed(numbered(range(1, 40)), rows=o.pop("share", 2), **o),
]


@pytest.mark.parametrize("make", MAKERS, ids=["pairs", "prompts", "packed"])
@given(steps=st.integers(0, 40))
@settings(max_examples=15)
def test_every_stream_goes_on_from_its_state(some: Documents, make: Callable[..., Stream[Any]], steps: int) -> None:
    whole, again = make(some), make(some)
    for _ in range(steps):
        next(whole)
    again.restore(whole.state())
    same_batches(whole, again, 4)


@pytest.mark.parametrize("make", MAKERS[:2], ids=["pairs", "prompts"])
def test_ranks_share_the_groups(some: Documents, make: Callable[..., Stream[Any]]) -> None:
    alone, ranks = make(some, share=6, epochs=1), [make(some, epochs=1, rank=rank, world=3) for rank in range(3)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        rows = [part[-1].tolist() for part in parts]
        assert sorted(itertools.chain(*rows)) == sorted(whole[-1].tolist())
    assert all(rank.state() == alone.state() for rank in ranks)


@pytest.mark.parametrize("make", MAKERS, ids=["pairs", "prompts", "packed"])
def test_working_ahead_changes_nothing(some: Documents, make: Callable[..., Stream[Any]]) -> None:
    ahead, plain = Prefetch(make(some, epochs=1), depth=3), make(some, epochs=1)
    states = [plain.state()]
    for batch in plain:
        assert ahead.state() == states[-1]
        same_batches([batch], [next(ahead)], 1)
        states.append(plain.state())
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(ahead)
    middle = states[len(states) // 2]
    ahead.restore(middle)
    plain.restore(middle)
    same_batches(plain, ahead, 2)
    ahead.close()
    same_batches(plain, ahead, 1)
    ahead.close()
    ahead.close()


def test_an_error_of_the_thread_is_raised_where_batches_are_asked_for() -> None:
    class Torn:
        def __next__(self) -> int:
            raise DataError("torn")

        def state(self) -> dict[str, int]:
            return {}

        def restore(self, state: dict[str, int]) -> None:
            pass

    stream: Prefetch[int] = Prefetch(Torn())  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(DataError, match="torn"):
            next(stream)
    stream.close()


# Real sets, as the mill publishes them


def test_a_real_corpus(real_data: Path, tmp_path: Path) -> None:
    inputs = [real_data / "text" / f"{name}.jsonl.gz" for name in ("english-web-treebank", "csl-abstracts-zh")]
    dataset = open_dataset(str(milled(tmp_path / "run", TEXT, *inputs)), "corpus", check_digests=True)
    tokenizer = fit(itertools.islice(dataset.texts(), 300), 1000)
    documents = Documents([encoded(dataset, tokenizer, tmp_path / "cache")])
    tokens = documents.ragged("tokens")
    assert all(tokenizer.decode(tokens[n]) == text for n, text in enumerate(dataset.texts()))
    order = documents.mixture(documents.train(), 1)
    stream = Packed(documents, order, rows=4, tokens=2048, chunk=512, padding=tokenizer.pad, epochs=1)
    batches = list(stream)
    real = sum(int((batch.documents_BT >= 0).sum()) for batch in batches)
    targets = sum(int((batch.targets_BT >= 0).sum()) for batch in batches)
    assert real == tokens.lengths.sum() and targets == real - len(tokens)
    rows = sum(int((batch.documents_BT >= 0).any(1).sum()) for batch in batches)
    assert real / (rows * 2048) >= 0.99
    assert sum(int((batch.tokens_BT == tokenizer.bos).sum()) for batch in batches) == len(tokens)


def test_real_pairs_and_conversations(real_data: Path, tmp_path: Path) -> None:
    ranked = milled(tmp_path / "a", PAIRS, *sorted((real_data / "preferences").glob("*zh*")))
    documents = Documents([encoded(open_dataset(str(ranked)), TOKENIZER, tmp_path / "cache")])
    assert len(documents.held_out()) and len(documents.train())
    pairs = Pairs(documents, documents.train(), groups=8, tokens=4096, padding=PAD, seed=1, epochs=1)
    seen, groups = [], 0.0
    for batch in pairs:
        assert (batch.tokens_ST.gather(1, batch.ends_S[:, None])[:, 0] == TOKENIZER.end).all()
        assert (batch.chosen_P != batch.rejected_P).all()
        seen += batch.rows_P.tolist()
        groups += float(batch.weight_P.sum())
    assert len(seen) == len(set(seen)) == len(documents.train()) - pairs.left_out
    assert groups < len(seen)
    prompts: list[PromptBatch] = list(
        Prompts(documents, documents.held_out(), prompts=4, tokens=4096, padding=PAD, seed=1, epochs=1)
    )
    assert sum(len(batch.rows_B) for batch in prompts) <= len(documents.held_out())
    talks = milled(tmp_path / "b", CONVERSATIONS, real_data / "sft" / "glaive-toolcall-en-demo.json.gz")
    check_conversations(talks, tmp_path / "cache", TOKENIZER)


def check_conversations(folder: Path, cache: Path, tokenizer: Vocabulary) -> None:
    """Learned tokens are those of the assistant's turns, and their ends, and nothing else."""
    dataset = open_dataset(str(folder), "instructions")
    documents = Documents([encoded(dataset, tokenizer, cache)])
    messages = [turns for batch in dataset.batches(["messages"]) for turns in batch.column(0).to_pylist()]
    expected = sum(len(tokenizer.encode(turn["content"])) + 1
                   for turns in messages for turn in turns if turn["role"] == "assistant")  # fmt: skip
    order = documents.mixture(np.arange(documents.rows), 1)
    stream = Packed(documents, order, rows=4, tokens=2048, chunk=256, padding=tokenizer.pad, epochs=1)
    assert sum(int((batch.targets_BT >= 0).sum()) for batch in stream) == expected


def test_the_same_data_anywhere_gives_the_same_batches(tmp_path: Path) -> None:
    rows = [{"id": f"{n:032x}", "text": english(n), "language": "en"} for n in range(40)]
    streams = []
    for name in ("a", "b"):
        dataset = open_dataset(str(publish(tmp_path / name, "corpus", rows, parts=2)))
        documents = Documents([encoded(dataset, TOKENIZER, tmp_path / f"cache-{name}")], held_out=0.2)
        streams.append(packed(documents, tokens=256, chunk=64))
    same_batches(*streams, 30)
