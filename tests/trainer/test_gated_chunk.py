"""Gated chunk attention: definition, documents, trees, the gate's switch, arithmetic."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.trainer.lively import lively
from trainer.models.fenwick import Nodes, forest, leaves, merge
from trainer.models.gated_chunk import GatedChunkAttention, Layout, lay_out, running_mean
from trainer.models.gated_chunk_naive import gated_chunk_naive, spans
from trainer.models.longdoc import LongDocBlock, LongDocConfig

quick = settings(max_examples=10, deadline=None)
shapes = st.tuples(st.sampled_from([4, 8]), st.booleans(), st.sampled_from([2, 4, 8]))  # chunk, memory, pairs


def attention_of(chunk: int, memory: bool, pairs: int, seed: int = 0) -> GatedChunkAttention:
    made = GatedChunkAttention(12, 2, chunk=chunk, memory=memory, pairs=min(pairs, chunk), levels=5)
    return lively(made, seed).eval()


def layout_of(documents_BT: Tensor, attention: GatedChunkAttention, dtype: torch.dtype = torch.float64) -> Layout:
    return lay_out(documents_BT, attention, dtype)


def packed(lengths: list[int], chunk: int) -> Tensor:
    """Documents one behind the other as packing puts them: at a chunk boundary, or into what is left of a chunk."""
    row: list[int] = []
    for number, length in enumerate(lengths):
        left = -len(row) % chunk
        row += [-1] * (left if length > left else 0) + [number] * length
    return torch.tensor([row + [-1] * (-len(row) % chunk)])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@quick
@given(shapes, st.integers(1, 7), st.integers(0, 99), st.sampled_from([None, 0.45, 0.5, 0.6]))
def test_attention_is_its_definition(
    shape: tuple[int, bool, int], chunks: int, seed: int, threshold: float | None
) -> None:
    attention = attention_of(*shape, seed)
    attention.gate_threshold = threshold
    x = noise(1, chunks * attention.chunk, 12, seed=seed).requires_grad_()
    ours, _ = attention(x, layout_of(torch.zeros(x.shape[:2]).long(), attention))
    naive = gated_chunk_naive(attention, x[0], threshold=threshold)
    torch.testing.assert_close(ours[0], naive, rtol=0, atol=1e-12)
    weight, inputs = noise(*naive.shape, seed=1), [x, *attention.parameters()]
    for a, b in zip(
        torch.autograd.grad(ours[0], inputs, weight, materialize_grads=True, allow_unused=True),
        torch.autograd.grad(naive, inputs, weight, materialize_grads=True, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@quick
@given(shapes, st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(0, 99), st.booleans())
def test_a_packed_row_is_its_documents_alone(
    shape: tuple[int, bool, int], lengths: list[int], seed: int, switched: bool
) -> None:
    attention = attention_of(*shape, seed)
    attention.gate_threshold = 0.5 if switched else None
    documents = packed(lengths, attention.chunk)
    x = noise(*documents.shape, 12, seed=seed)
    together, _ = attention(x, layout_of(documents, attention))
    assert together.isfinite().all()
    for number in range(len(lengths)):
        own = documents[0] == number
        alone = gated_chunk_naive(attention, x[0, own], threshold=attention.gate_threshold)
        torch.testing.assert_close(together[0, own], alone, rtol=0, atol=1e-12)


@quick
@given(shapes, st.integers(1, 5), st.integers(0, 999), st.booleans())
def test_no_output_feels_a_later_token_or_another_document(
    shape: tuple[int, bool, int], chunks: int, seed: int, one: bool
) -> None:
    """Documents may start anywhere here, also where packing would not put them."""
    attention = attention_of(*shape, seed)
    random = np.random.default_rng(seed)
    tokens = chunks * attention.chunk
    documents = torch.tensor(np.cumsum(random.random((2, tokens)) < (0 if one else 0.1), axis=1))
    if not one and seed % 2:
        documents[:, tokens - 3 :] = -1
    x = noise(2, tokens, 12, seed=seed).requires_grad_()
    out, _ = attention(x, layout_of(documents, attention))
    for t in range(tokens):
        (gradient,) = torch.autograd.grad(out[0, t] @ noise(12, seed=t), x, retain_graph=True)
        assert not gradient[1].any()
        felt = gradient[0].ne(0).any(-1)
        assert not felt[t + 1 :].any()
        if documents[0, t] >= 0:
            assert not felt[documents[0] != documents[0, t]].any()
        assert felt[t]


def test_every_earlier_chunk_is_felt() -> None:
    attention = attention_of(4, False, 4)
    x = noise(1, 60, 12).requires_grad_()
    out, _ = attention(x, layout_of(torch.zeros(1, 60).long(), attention))
    (gradient,) = torch.autograd.grad(out[0, -1].sum(), x)
    assert gradient[0].ne(0).any(-1).all()  # pooled pairs hold every token


def test_a_document_that_packing_would_not_put_there_is_summarised_from_its_first_whole_chunk() -> None:
    attention = attention_of(4, False, 4)
    documents = torch.tensor([[0] * 6 + [1] * 14])
    x = noise(1, 20, 12).requires_grad_()
    out, _ = attention(x, layout_of(documents, attention))
    (gradient,) = torch.autograd.grad(out[0, -1].sum(), x)
    assert gradient[0].ne(0).any(-1).tolist() == [False] * 8 + [True] * 12


@pytest.mark.parametrize("count", range(1, 40))
def test_a_chunk_sees_the_fenwick_decomposition(count: int) -> None:
    before = torch.arange(count)[None]
    trees = forest(before, torch.ones(1, count, dtype=torch.bool), (count - 1).bit_length())
    covers = [[{chunk} for chunk in range(count)]]
    for left, right in trees.children:
        covers.append([covers[-1][a] | covers[-1][b] for a, b in zip(left.tolist(), right.tolist(), strict=True)])
    nodes = [*itertools.chain(*covers[: trees.table_GL.shape[1]]), set()]
    for chunk in range(count):
        seen = [nodes[number] for number in trees.table_GL[chunk].tolist()]
        expected = [set(range(begin, begin + (1 << level))) for level, begin in spans(chunk)]
        assert sorted(filter(None, seen), key=min) == expected


def test_trees_of_documents_side_by_side_do_not_mix() -> None:
    whole = torch.tensor([[True, True, True, False, True, True, True, True, True]])
    before = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4]])
    trees = forest(before, whole, 4)
    covers = [[{chunk} for chunk in range(9)]]
    for left, right in trees.children:
        covers.append([covers[-1][a] | covers[-1][b] for a, b in zip(left.tolist(), right.tolist(), strict=True)])
    nodes = [*itertools.chain(*covers), set()]
    seen = [sorted(map(sorted, filter(None, (nodes[n] for n in row)))) for row in trees.table_GL.tolist()]
    assert seen[3] == [[0, 1], [2]]
    assert seen[4] == []
    assert seen[7] == [[4, 5], [6]]
    assert seen[8] == [[4, 5, 6, 7]]


@quick
@given(st.integers(0, 99), st.sampled_from([2, 4, 8]), st.integers(1, 3))
def test_parents_made_from_children_are_made_from_tokens(seed: int, pairs: int, doublings: int) -> None:
    chunks, half = 1 << doublings, pairs // 2
    k, v = noise(chunks, 3, 8, 5, seed=seed), noise(chunks, 3, 8, 5, seed=seed + 1)
    weights = torch.nn.functional.logsigmoid(3 * noise(chunks, 3, 8, seed=9))
    made = leaves(k, v, weights, pairs)
    while len(made.keys_HmK) > 1:
        made = merge(Nodes(*(x[0::2] for x in made)), Nodes(*(x[1::2] for x in made)))
    (keys,), (values,), (logs,) = made
    span_k, span_v, span_w = k.transpose(0, 1).flatten(1, 2), v.transpose(0, 1).flatten(1, 2), weights.transpose(0, 1)
    span_w = span_w.flatten(1).exp()
    runs = span_w.unflatten(1, (half, -1))
    torch.testing.assert_close(logs[:, :half].exp(), runs.sum(2), rtol=0, atol=1e-13)
    for ours, span in ((keys, span_k), (values, span_v)):
        means = (span.unflatten(1, (half, -1)) * runs[..., None]).sum(2) / runs.sum(2, keepdim=True)
        torch.testing.assert_close(ours[:, :half], means, rtol=0, atol=1e-13)
        best = span_w.topk(half).indices[..., None].expand(-1, -1, 5)
        order = logs[:, half:].argsort(-1, descending=True)[..., None].expand(-1, -1, 5)
        assert torch.equal(ours[:, half:].gather(1, order), span.gather(1, best))


def test_a_node_of_weights_that_vanish_is_finite() -> None:
    k = noise(2, 3, 8, 5)
    made = merge(*(Nodes(*(x[i : i + 1] for x in leaves(k, k, torch.full((2, 3, 8), -1e6), 4))) for i in range(2)))
    assert all(x.isfinite().all() for x in made)


def test_the_running_mean_is_exact_and_stays_in_its_window() -> None:
    x, since = noise(3, 13, 2), torch.tensor([[*range(1, 14)], [1, 2, 3, 1, 2, 1, 1, 2, 3, 4, 5, 6, 7], [1] * 13])
    mean, total = running_mean(x, since)
    for g, t in itertools.product(range(3), range(13)):
        window = x[g, t + 1 - since[g, t] : t + 1]
        torch.testing.assert_close(mean[g, t], window.mean(0), rtol=0, atol=1e-14)
        torch.testing.assert_close(total[g, t], window.sum(0), rtol=0, atol=1e-14)


def test_the_switch_is_off_in_training_and_skips_where_the_gate_was_open() -> None:
    attention = attention_of(8, True, 4)
    x = noise(1, 64, 12)
    layout = layout_of(torch.zeros(1, 64).long(), attention)
    plain, gate = attention(x, layout)
    ends = gate[:-1, -1].mean(-1)
    attention.gate_threshold = ends.median().item()
    switched, _ = attention(x, layout)
    changed = (switched != plain)[0].any(-1).view(8, 8)
    assert changed[0].logical_not().all()
    assert torch.equal(changed[1:].any(1), ends > attention.gate_threshold)
    assert torch.equal(attention.train()(x, layout)[0], plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_is_near(dtype: torch.dtype) -> None:
    attention = attention_of(8, True, 4)
    documents = packed([30, 3, 4, 20], 8)
    x = noise(*documents.shape, 12)
    exact, _ = attention(x, layout_of(documents, attention))
    near, _ = attention(x.to(dtype), layout_of(documents, attention, dtype))
    assert near.dtype == dtype
    error = (near.double() - exact).abs().mean() / exact.abs().mean()
    assert error < {torch.float32: 1e-6, torch.bfloat16: 0.03, torch.float16: 0.004}[dtype]


# Arithmetic.


def counted(config: LongDocConfig, tokens: int) -> int:
    """FLOPs of one layer's attention, forward, as torch counts them."""
    with torch.device("meta"):
        block = LongDocBlock(config)
        x, documents = torch.empty(1, tokens, config.width), torch.zeros(1, tokens, dtype=torch.long)
    layout = lay_out(documents, block.attention, torch.float32, plain=True)
    with FlopCounterMode(display=False) as counter:
        block.attention(x, layout)
    return counter.get_total_flops()


@pytest.mark.parametrize("memory", [0, 1])
@pytest.mark.parametrize("tokens", [300, 512, 1024, 1536, 4096, 9216])
def test_its_own_count_is_what_torch_counts(memory: int, tokens: int) -> None:
    config = LongDocConfig(width=64, heads=2, memory_chunks=memory)
    if tokens < config.chunk:
        config = LongDocConfig(width=64, heads=2, memory_chunks=memory, chunk=tokens, pairs=4, allow_beyond=("chunk",))
    assert counted(config, tokens) == config.attention_flops(tokens, full=True)


def misfit(config: LongDocConfig, lengths: list[int], full: bool) -> tuple[float, float]:
    """Largest relative residual of a·n + b·n·log2 n, and the slope in log and log."""
    n = np.array(lengths)
    cost = np.array([config.attention_flops(tokens, full=full) for tokens in lengths], dtype=float)
    basis = np.stack([n, n * np.log2(n)], axis=1) / cost[:, None]
    fit = np.linalg.lstsq(basis, np.ones(len(n)), rcond=None)[0]
    return float(np.abs(basis @ fit - 1).max()), float(np.polyfit(np.log(n), np.log(cost), 1)[0])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("memory", [0, 1])
@pytest.mark.parametrize("pairs", [16, 64])
def test_cost_is_n_log_n(memory: int, pairs: int, full: bool) -> None:
    """Within 2 % for any length; padded tables, where counted, grow in steps between the powers of two."""
    config = LongDocConfig(width=768, heads=12, memory_chunks=memory, pairs=pairs)
    powers = misfit(config, [1 << e for e in range(11, 18)], full)
    between = misfit(config, [round(2**e / 512) * 512 for e in np.linspace(11, 17, 40)], full)
    assert powers[0] <= 0.02
    assert between[0] <= (0.03 if full and pairs == 64 else 0.02)
    assert max(powers[1], between[1]) <= 1.08


def test_exact_cost_counts_what_is_seen() -> None:
    config = LongDocConfig(width=8, heads=2, chunk=8, pairs=4, memory_chunks=1, allow_beyond=("chunk",))
    pairs = 0
    for t in range(100):
        chunk = t // 8
        nodes = 1 + 4 * len(spans(chunk)) if chunk else 0
        pairs += t % 8 + 1 + (8 if chunk else 0) + nodes
    projections = 2 * 100 * 8 * (4 * 8 + 2) + 2 * 100 * 8
    assert config.attention_flops(100) == projections + 4 * 8 * pairs
    assert config.attention_flops(30) + config.attention_flops(70, 30) == config.attention_flops(100)
    assert math.isclose(config.attention_flops(60, 40), config.attention_flops(100) - config.attention_flops(40))
