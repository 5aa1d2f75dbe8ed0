"""Family A: decoding, documents, arithmetic, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from tests.trainer.lively import assert_decodes, documents_of, future_gradients, lively, tokens_of
from trainer.errors import ConfigError, DataError, StateError
from trainer.models import accounting
from trainer.models.common import init_weights
from trainer.models.dense import DenseConfig
from trainer.models.longdoc import LongDoc, LongDocConfig

quick = settings(max_examples=10, deadline=None)
CPU = torch.device("cpu")


def small(**changes: object) -> LongDocConfig:
    fields = {"vocab": 23, "width": 16, "layers": 2, "heads": 2, "hidden": 12, "chunk": 8, "pairs": 4, "levels": 5}
    return LongDocConfig(**{**fields, "allow_beyond": ("chunk", "gate_threshold")} | changes)


def model_of(seed: int = 0, **changes: object) -> LongDoc:
    return lively(LongDoc(small(**changes)), seed).eval()


@quick
@given(
    st.integers(0, 1),
    st.sampled_from([2, 4, 8]),
    st.sampled_from([None, 0.4, 0.5, 0.6]),
    st.lists(st.integers(1, 60), min_size=1, max_size=3),
    st.integers(1, 20),
    st.integers(0, 99),
)
def test_decoding_is_the_parallel_form(
    memory: int, pairs: int, threshold: float | None, lengths: list[int], step: int, seed: int
) -> None:
    """Ragged prefill, then steps of any size, over many chunk ends."""
    model = model_of(seed, memory_chunks=memory, pairs=pairs, gate_threshold=threshold)
    assert_decodes(model, tokens_of(len(lengths), 75, 23, seed), torch.tensor(lengths), 80, step)


def test_the_switch_really_skips_in_those_tests() -> None:
    tokens = tokens_of(2, 75, 23)
    off = model_of()(tokens).hidden_BTD
    on = model_of(gate_threshold=0.5)(tokens).hidden_BTD
    changed = (off != on).any(-1)
    assert 0.1 < changed.double().mean() < 0.95


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_token_by_token_from_nothing(threshold: float | None) -> None:
    model, tokens = model_of(gate_threshold=threshold), tokens_of(2, 70, 23)
    hidden, state = model(tokens).hidden_BTD, model.state(2, CPU, torch.float64)
    for t in range(70):
        out = model.decode(tokens[:, t : t + 1], state)
        torch.testing.assert_close(out[:, 0], hidden[:, t], rtol=0, atol=1e-12)


def test_rows_may_stand_still_be_copied_and_be_replaced() -> None:
    model, tokens = model_of(), tokens_of(3, 60, 23)
    hidden, state = model(tokens).hidden_BTD, model.state(3, CPU, torch.float64, 64)
    model.decode(tokens[:, :30], state, torch.tensor([30, 0, 17]))
    kept = state.clone()
    out = model.decode(tokens[:, :25], state, torch.tensor([0, 25, 0]))
    torch.testing.assert_close(out[1], hidden[1, :25], rtol=0, atol=1e-12)
    assert state.lengths == [30, 25, 17] == state.used_B.tolist()
    assert kept.lengths == [30, 0, 17]
    chosen = state.rows(torch.tensor([2, 2, 0]))
    out = model.decode(torch.stack((tokens[2, 17:40], tokens[2, 17:40], tokens[0, 30:53])), chosen)
    torch.testing.assert_close(out[:, :], hidden[[2, 2, 0]][:, :0].new_tensor(0) + torch.stack(
        (hidden[2, 17:40], hidden[2, 17:40], hidden[0, 30:53])), rtol=0, atol=1e-12)  # fmt: skip
    state.put(torch.tensor([1]), chosen.rows(torch.tensor([False, False, True])))
    assert state.lengths == [30, 53, 17]
    out = model.decode(torch.stack((tokens[0, 30:36], tokens[0, 53:59], tokens[2, 17:23])), state)
    expected = torch.stack((hidden[0, 30:36], hidden[0, 53:59], hidden[2, 17:23]))
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


@quick
@given(st.integers(0, 1), st.integers(1, 3), st.integers(2, 41), st.integers(0, 99), st.booleans())
def test_no_output_feels_a_later_token_or_another_document(
    memory: int, layers: int, length: int, seed: int, packed: bool
) -> None:
    model = model_of(seed, memory_chunks=memory, layers=layers)
    documents = documents_of(2, length, seed, padding=seed % 2) if packed else None
    felt, allowed = future_gradients(model, tokens_of(2, length, 23, seed), documents)
    if packed:
        allowed |= (documents[0] < 0)[:, None]  # padding may give anything
    assert not (felt & ~allowed).any()
    if not packed:
        assert torch.equal(felt, allowed)


def test_rows_of_any_length() -> None:
    model, tokens = model_of(), tokens_of(2, 53, 23)
    hidden = model(tokens).hidden_BTD
    for length in (1, 5, 8, 9, 16, 40):
        torch.testing.assert_close(model(tokens[:, :length]).hidden_BTD, hidden[:, :length], rtol=0, atol=1e-12)


def test_the_state_has_one_size() -> None:
    model = model_of()
    state = model.state(2, CPU, torch.float64, 200)
    size = state.bytes()
    for _ in range(10):
        model.decode(tokens_of(2, 19, 23), state)
        assert state.bytes() == size
    assert size == 2 * model.config.cache_bytes(200, torch.float64)
    assert model.state(3, CPU, torch.bfloat16, 200).bytes() == 3 * model.config.cache_bytes(200, torch.bfloat16)
    with pytest.raises(StateError, match="255 tokens cannot hold 266"):
        model.decode(tokens_of(2, 76, 23), state)
    sizes = [model.config.cache_bytes(n, torch.float64) for n in (100, 200, 400, 800)]
    assert len({b - a for a, b in itertools.pairwise(sizes)}) == 1  # as log n


@pytest.mark.parametrize("tokens", [300, 512, 700, 2048, 2500])
def test_flops_are_what_torch_counts(tokens: int) -> None:
    config = LongDocConfig(vocab=101, width=32, layers=2, heads=2)
    with torch.device("meta"):
        model = LongDoc(config)
    with FlopCounterMode(display=False) as counter:
        model.logits(model(torch.zeros(1, tokens, dtype=torch.long, device="meta")).hidden_BTD)
    assert counter.get_total_flops() == accounting.flops_full(config, tokens)
    assert accounting.flops(config, tokens) < accounting.flops_full(config, tokens)


@pytest.mark.parametrize("pairs", [16, 64])
@pytest.mark.parametrize("memory", [0, 1])
def test_attention_costs_n_log_n(pairs: int, memory: int) -> None:
    """a·n + b·n·log2 n: within 2 % for a whole layer of usual width; to the last operation, but for a constant that
    the first chunk saves, for its scores at powers of two."""
    config = LongDocConfig(pairs=pairs, memory_chunks=memory)
    lengths = np.unique(np.round(2 ** np.linspace(11, 17, 40))).astype(int)
    layer = np.array([config.attention_flops(int(n)) for n in lengths], float)
    assert _misfit(lengths, layer, constant=False) < 0.02
    powers = 2 ** np.arange(11, 18)
    scores = np.array([config.attention_flops(int(n)) - 8 * int(n) * config.width**2 for n in powers], float)
    assert _misfit(powers, scores, constant=True) < 1e-9
    dense = np.array([DenseConfig().attention_flops(int(n)) for n in lengths], float)
    assert _misfit(lengths, dense, constant=False) > 0.05


def _misfit(lengths: np.ndarray, flops: np.ndarray, *, constant: bool) -> float:
    """Greatest relative error of the best fit."""
    terms = np.stack([lengths, lengths * np.log2(lengths), *([np.ones(len(lengths))] if constant else [])], 1)
    terms = terms / flops[:, None]
    best = np.linalg.lstsq(terms, np.ones(len(lengths)), rcond=None)[0]
    return float(np.abs(terms @ best - 1).max())


@pytest.mark.parametrize("tie", [False, True])
def test_parameters_are_counted(tie: bool) -> None:
    model = LongDoc(small(tie=tie))
    assert accounting.parameters(model) == model.config.parameters() == accounting.active_parameters(model.config)


def test_low_precision_trains_and_decodes() -> None:
    model = LongDoc(small())
    init_weights(model, 1)
    tokens = tokens_of(2, 40, 23)
    trunk = model(tokens, compute_dtype=torch.bfloat16)
    assert trunk.hidden_BTD.dtype == torch.bfloat16
    assert model.logits(trunk.hidden_BTD).dtype == torch.float32
    model.logits(trunk.hidden_BTD).logsumexp(-1).mean().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
    state = model.state(2, CPU, torch.bfloat16, 64)
    parts = [model.decode(tokens[:, :30], state), model.decode(tokens[:, 30:], state)]
    error = (torch.cat(parts, 1) - trunk.hidden_BTD).float().abs().mean()
    assert error < 0.02


def test_weights_come_from_the_seed() -> None:
    one, same, other = LongDoc(small()), LongDoc(small()), LongDoc(small())
    for model, seed in ((one, 1), (same, 1), (other, 2)):
        init_weights(model, seed)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.blocks[1].feed.down.weight, other.blocks[1].feed.down.weight)
    assert float(one(tokens_of(1, 20, 23)).stats["gate"]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"chunk": 256}, "/chunk"),
        ({"chunk": 2048}, "/chunk"),
        ({"gate_threshold": 0.9}, "/gate_threshold"),
        ({"gate_threshold": 1.5, "allow_beyond": ("gate_threshold",)}, "/gate_threshold"),
        ({"memory_chunks": 2}, "/memory_chunks"),
        ({"pairs": 7}, "/pairs"),
        ({"pairs": 20}, "/pairs"),
        ({"heads": 7}, "/heads"),
        ({"allow_beyond": ("chunks",)}, "/allow_beyond"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, object], pointer: str) -> None:
    with pytest.raises(ConfigError) as refused:
        LongDocConfig(**fields)
    assert refused.value.pointer == pointer


def test_rows_beyond_the_levels_are_refused() -> None:
    with pytest.raises(DataError, match="2 levels"):
        model_of(levels=2)(tokens_of(1, 33, 23))
    assert model_of(levels=2)(tokens_of(1, 32, 23)).hidden_BTD.isfinite().all()


@pytest.mark.slow
def test_a_block_compiles() -> None:
    model, tokens = model_of(layers=1), tokens_of(2, 40, 23)
    plain = model(tokens).hidden_BTD
    for block in model.blocks:
        block.compile(fullgraph=True)
    torch.testing.assert_close(model(tokens).hidden_BTD, plain, rtol=0, atol=1e-12)
