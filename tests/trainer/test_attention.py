"""Dense attention and the dense twin: definition, documents, causality, decoding, arithmetic."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from tests.trainer.lively import assert_decodes, documents_of, future_gradients, lively, tokens_of
from trainer.errors import ConfigError, StateError
from trainer.models import build
from trainer.models.attention import attend, attend_naive
from trainer.models.dense import Dense, DenseConfig

quick = settings(max_examples=12, deadline=None)


def small(**fields: object) -> DenseConfig:
    return DenseConfig(**{"vocab": 23, "width": 16, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 12} | fields)


shapes = st.sampled_from([(1, 1), (2, 1), (4, 2), (4, 4), (2, 2)])


@quick
@given(shapes, st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_attention_is_its_definition(shape: tuple[int, int], length: int, seed: int, packed: bool) -> None:
    heads, groups = shape
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(2, n, length, 6, generator=generator, dtype=torch.float64) for n in (heads, groups, groups)]
    q, k, v = (x.requires_grad_() for x in inputs)
    documents = documents_of(2, length, seed) if packed else torch.zeros(2, length, dtype=torch.long)
    mask = (documents[:, None, :, None] == documents[:, None, None, :]).tril()
    ours = attend(q, k, v, mask, False) if packed else attend(q, k, v, None, True)
    naive = attend_naive(q, k, v, documents)
    torch.testing.assert_close(ours, naive, rtol=0, atol=1e-12)
    weight = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    for a, b in zip(torch.autograd.grad(ours, inputs, weight), torch.autograd.grad(naive, inputs, weight), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@quick
@given(shapes, st.integers(1, 3), st.integers(2, 12), st.integers(0, 99), st.booleans())
def test_no_output_feels_a_later_token_or_another_document(
    shape: tuple[int, int], layers: int, length: int, seed: int, packed: bool
) -> None:
    model = lively(Dense(small(heads=shape[0], kv_heads=shape[1], layers=layers)), seed)
    documents = documents_of(2, length, seed, padding=seed % 2) if packed else None
    felt, allowed = future_gradients(model, tokens_of(2, length, 23, seed), documents)
    assert torch.equal(felt, allowed)


def test_a_packed_row_is_its_documents_alone() -> None:
    model, tokens, documents = lively(Dense(small())), tokens_of(3, 40, 23), documents_of(3, 40, padding=5)
    packed = model(tokens, documents).hidden_BTD
    assert packed.isfinite().all()
    for row in range(3):
        for number in documents[row].unique():
            inside = documents[row] == number
            alone = model(tokens[row, inside][None]).hidden_BTD[0]
            torch.testing.assert_close(packed[row, inside], alone, rtol=0, atol=1e-12)


@quick
@given(
    shapes, st.lists(st.integers(1, 9), min_size=1, max_size=4), st.booleans(), st.integers(1, 3), st.integers(0, 99)
)
def test_decoding_is_the_parallel_form(
    shape: tuple[int, int], lengths: list[int], static: bool, step: int, seed: int
) -> None:
    model = lively(Dense(small(heads=shape[0], kv_heads=shape[1])), seed)
    tokens = tokens_of(len(lengths), 18, 23, seed)
    assert_decodes(model, tokens, torch.tensor(lengths), 18 if static else None, step)


def test_even_steps_ragged_steps_and_even_ones_again() -> None:
    model, tokens = lively(Dense(small())), tokens_of(2, 20, 23)
    hidden, state = model(tokens).hidden_BTD, model.state(2, tokens.device, torch.float64)
    model.decode(tokens[:, :4], state)
    model.decode(tokens[:, 4:5], state)
    model.decode(tokens[:, 5:9], state, torch.tensor([1, 4]))
    model.decode(torch.stack((tokens[0, 6:9], tokens[1, 9:12])), state, torch.tensor([3, 0]))
    out = model.decode(tokens[:, 9:14], state)
    torch.testing.assert_close(out, hidden[:, 9:14], rtol=0, atol=1e-12)
    assert state.used_B.tolist() == [14, 14]


def test_rows_of_a_state_go_their_own_way() -> None:
    model, tokens = lively(Dense(small())), tokens_of(3, 12, 23)
    hidden, state = model(tokens).hidden_BTD, model.state(3, tokens.device, torch.float64, 12)
    model.decode(tokens[:, :8], state, torch.tensor([8, 3, 5]))
    copy, picked = state.clone(), state.rows(torch.tensor([2, 0, 2]))
    model.decode(tokens[:, :4], state)
    for fork, rows, at in ((copy, [0, 1, 2], [8, 3, 5]), (picked, [2, 0, 2], [5, 8, 5])):
        out = model.decode(tokens[rows, at][:, None], fork)
        torch.testing.assert_close(out[:, 0], hidden[rows, at], rtol=0, atol=1e-12)
    assert len(state.rows(torch.tensor([True, False, True])).used_B) == 2


def test_a_full_state_says_so_and_a_loose_bound_does_not() -> None:
    model, tokens = lively(Dense(small())), tokens_of(2, 12, 23)
    state = model.state(2, tokens.device, torch.float64, 12)
    model.decode(tokens[:, :6], state, torch.tensor([1, 2]))
    model.decode(tokens[:, :8], state, torch.tensor([1, 2]))
    assert state.used_B.tolist() == [2, 4]
    with pytest.raises(StateError, match="12 tokens"):
        model.decode(tokens[:, :9], state)
    even = model.state(2, tokens.device, torch.float64, 12)
    model.decode(tokens, even)
    with pytest.raises(StateError, match="12 tokens cannot hold 13"):
        model.decode(tokens[:, :1], even)


@pytest.mark.parametrize("fields", [{}, {"tie": True}, {"kv_heads": None, "hidden": None}])
def test_arithmetic_is_what_is_counted(fields: dict[str, object]) -> None:
    config = small(**fields)
    with torch.device("meta"):
        model = Dense(config)
    assert sum(weight.numel() for weight in model.parameters()) == config.parameters() == config.active_parameters()
    with FlopCounterMode(display=False) as counter:
        trunk = model(torch.zeros(3, 32, dtype=torch.long, device="meta"))
        model.logits(trunk.hidden_BTD)
    assert counter.get_total_flops() == 3 * config.flops_full(32)
    assert config.flops(32) == sum(config.flops(1, context) for context in range(32))
    assert config.flops_full(32) - config.flops(32) == config.layers * 4 * config.width * (32 * 31 // 2)
    state = Dense(config).state(1, torch.device("cpu"), torch.bfloat16, max_tokens=31)
    size = state.keys_LBGNK.nbytes + state.values_LBGNK.nbytes
    assert size == config.cache_bytes(32, torch.bfloat16)  # 31 tokens and the place for padding


def test_computing_in_bf16_keeps_fp32_weights() -> None:
    model = build({"family": "dense", "vocab": 23, "width": 16, "layers": 2, "heads": 4}, seed=3)
    tokens = tokens_of(2, 9, 23)
    narrow, wide = model(tokens, compute_dtype=torch.bfloat16).hidden_BTD, model(tokens).hidden_BTD
    assert narrow.dtype == torch.bfloat16 and model.logits(narrow).dtype == torch.float32
    torch.testing.assert_close(narrow.float(), wide, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("fields", "pointer"), [({"heads": 3}, "/heads"), ({"kv_heads": 3}, "/kv_heads"), ({"width": 0}, "/width")]
)
def test_impossible_shapes_are_refused(fields: dict[str, object], pointer: str) -> None:
    with pytest.raises(ConfigError) as error:
        small(**fields)
    assert error.value.pointer == pointer
