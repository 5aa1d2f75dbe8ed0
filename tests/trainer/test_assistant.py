"""Family B whole: prediction changes no bit, causality, documents, decoding, single rows, arithmetic, registry."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from tests.trainer.lively import assert_decodes, documents_of, future_gradients, lively, tokens_of
from trainer.errors import ConfigError
from trainer.models import FAMILIES, build, configure
from trainer.models.assistant import Assistant, AssistantConfig

quick = settings(max_examples=10, deadline=None)
SMALL: dict[str, Any] = {
    "vocab": 23,
    "width": 16,
    "layers": 3,
    "heads": 4,
    "kv_heads": 2,
    "experts": 7,
    "expert_hidden": 8,
    "prediction": "dispatch",
    "allow_beyond": ("experts", "active"),
}


def small(**fields: Any) -> AssistantConfig:
    return AssistantConfig(**SMALL | fields)


shapes = st.fixed_dictionaries(
    {
        "kv_heads": st.sampled_from([1, 2, 4]),
        "layers": st.integers(2, 3),
        "dense_layers": st.integers(0, 1),
        "experts": st.integers(3, 9),
        "active": st.integers(1, 3),
        "bias": st.sampled_from([0.0, 1e-3]),
        "prediction": st.sampled_from(["off", "measure", "dispatch"]),
    }
)


def gradients(model: Assistant, tokens: Tensor, documents: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
    """Hidden states, and the gradients of a loss with all auxiliary ones."""
    trunk = model(tokens, documents)
    (model.logits(trunk.hidden_BTD).logsumexp(-1).mean() + sum(trunk.losses.values())).backward()
    return trunk.hidden_BTD, {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dense_layers", [0, 1])
def test_prediction_changes_no_bit(dtype: torch.dtype, dense_layers: int) -> None:
    tokens, documents = tokens_of(3, 20, 23), documents_of(3, 20, padding=3)
    weights = lively(Assistant(small(dense_layers=dense_layers))).to(dtype).state_dict()
    results = []
    for prediction in ("off", "measure", "dispatch"):
        model = Assistant(small(dense_layers=dense_layers, prediction=prediction)).to(dtype)
        known = {name: weight for name, weight in weights.items() if name in model.state_dict()}
        model.load_state_dict(known)
        results.append(gradients(model, tokens, documents))
    assert 0.0 < model(tokens, documents).stats["recall"] < 1.0  # so guesses were used, and repaired
    for hidden, grads in results[:2]:
        assert torch.equal(hidden, results[2][0])
        assert all(torch.equal(grad, results[2][1][name]) for name, grad in grads.items())
    assert results[1][1].keys() == results[2][1].keys() > results[0][1].keys()


def test_predictors_are_not_felt_by_the_model() -> None:
    model = lively(Assistant(small()))
    model(tokens_of(2, 12, 23)).losses["predictor"].backward()
    touched = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert touched == {name for name, _ in model.named_parameters() if ".ahead." in name}


def test_predictors_learn_what_routers_do() -> None:
    model, tokens = lively(Assistant(small())).float(), tokens_of(4, 64, 23)
    optimizer = torch.optim.Adam([p for name, p in model.named_parameters() if ".ahead." in name], lr=0.02)
    before = model(tokens).stats["recall"]
    for _ in range(30):
        optimizer.zero_grad()
        model(tokens).losses["predictor"].backward()
        optimizer.step()
    assert model(tokens).stats["recall"] > before + 0.2


def test_no_guess_looks_ahead() -> None:
    model, tokens = lively(Assistant(small())), tokens_of(2, 16, 23)
    changed = tokens.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 23
    guesses = []
    for given_tokens in (tokens, changed):
        forecasts = [record.forecast for record in model.records(given_tokens).values()]
        guesses.append([forecast.logits_NE.view(2, 16, -1)[:, :9] for forecast in forecasts])
    for one, other in zip(*guesses, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@quick
@given(shapes, st.integers(2, 12), st.integers(0, 99), st.booleans())
def test_no_output_feels_a_later_token_or_another_document_or_row(
    fields: dict[str, Any], length: int, seed: int, packed: bool
) -> None:
    model = lively(Assistant(small(**fields)), seed)
    documents = documents_of(2, length, seed, padding=seed % 2) if packed else None
    felt, allowed = future_gradients(model, tokens_of(2, length, 23, seed), documents)
    assert torch.equal(felt, allowed)


def test_a_packed_row_is_its_documents_alone() -> None:
    model, tokens, documents = lively(Assistant(small())), tokens_of(3, 40, 23), documents_of(3, 40, padding=5)
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
    fields: dict[str, Any], lengths: list[int], static: bool, step: int, seed: int
) -> None:
    tokens = tokens_of(len(lengths), 18, 23, seed)
    assert_decodes(
        lively(Assistant(small(**fields)), seed), tokens, torch.tensor(lengths), 18 if static else None, step
    )


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    model, tokens = lively(Assistant(small())), tokens_of(5, 24, 23)
    together = model(tokens).hidden_BTD
    state = model.state(5, tokens.device, torch.float64)
    model.decode(tokens[:, :-1], state)
    last = model.decode(tokens[:, -1:], state)
    for row in range(5):
        torch.testing.assert_close(model(tokens[row][None]).hidden_BTD[0], together[row], rtol=0, atol=1e-12)
        one = model.state(1, tokens.device, torch.float64)
        model.decode(tokens[row, :-1][None], one)
        torch.testing.assert_close(model.decode(tokens[row, -1:][None], one)[0], last[row], rtol=0, atol=1e-12)


def test_padding_counts_in_no_loss_and_no_figure() -> None:
    model, tokens = lively(Assistant(small())), tokens_of(2, 20, 23)
    documents = torch.zeros(2, 20, dtype=torch.long)
    documents[:, 15:] = -1
    padded, alone = model(tokens, documents), model(tokens[:, :15])
    for name, value in (alone.losses | alone.stats).items():
        torch.testing.assert_close((padded.losses | padded.stats)[name], value, msg=name)


def test_every_token_has_its_experts_in_every_layer() -> None:
    model, tokens = lively(Assistant(small(dense_layers=1))), tokens_of(2, 20, 23)
    records = model.records(tokens)
    assert list(records) == [1, 2]
    for routing, plan, _ in records.values():
        assert routing.experts_TK.shape == (40, 2) and plan.ends_E[-1] == 80
        assert (routing.experts_TK[:, 0] < routing.experts_TK[:, 1]).all() and routing.experts_TK.max() < 7
    assert model(tokens).stats["dropped"] == 0


def test_recomputing_blocks_changes_no_bit() -> None:
    tokens, results = tokens_of(2, 20, 23), []
    for recompute in (False, True):
        model = lively(Assistant(small())).float()
        if recompute:
            for block in model.blocks:
                block.forward = _recomputed(block.forward)
        results.append(gradients(model, tokens, None)[1])
    assert all(torch.equal(grad, results[1][name]) for name, grad in results[0].items())


def _recomputed(forward: Any) -> Any:
    return lambda *given: checkpoint(forward, *given, use_reentrant=False)


@pytest.mark.parametrize("fields", [{}, {"tie": True, "prediction": "off", "bias": 0.0}, {"dense_layers": 2}])
def test_arithmetic_is_what_is_counted(fields: dict[str, Any]) -> None:
    config = small(experts=8, **fields)
    with torch.device("meta"):
        model = Assistant(config)
    assert sum(weight.numel() for weight in model.parameters()) == config.parameters()
    idle = (config.experts - config.active) * sum(p[0].numel() for n, p in model.named_parameters() if "_E" in n)
    assert config.active_parameters() == config.parameters() - idle
    tokens = torch.zeros(3, 32, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten._grouped_mm: _grouped_flops}) as counter:
        trunk = model(tokens, compute_dtype=torch.bfloat16)
        model.logits(trunk.hidden_BTD)
    assert counter.get_total_flops() == 3 * config.flops_full(32)
    assert config.flops(32) == sum(config.flops(1, context) for context in range(32))


def _grouped_flops(rows: Any, weights: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    return int(2 * rows[0] * weights[-2] * weights[-1])


def test_every_family_has_a_configuration_and_a_model() -> None:
    for family, (config, model) in FAMILIES.items():
        assert type(configure({"family": family})) is config
        assert hasattr(model, "decode") and hasattr(model, "state") and hasattr(model, "logits")


def test_families_are_built_from_settings_alike_each_time() -> None:
    settings_ = {"family": "assistant"} | SMALL
    one, other, third = build(settings_, 1), build(settings_, 1), build(settings_, 2)
    assert isinstance(one, FAMILIES["assistant"][1])
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.blocks[1].feed.experts.down_EFD, third.blocks[1].feed.experts.down_EFD)
    assert configure({"family": "assistant"} | dataclasses.asdict(one.config)) == one.config


@pytest.mark.parametrize(
    ("settings_", "pointer", "hint"),
    [
        ({"family": "assistent"}, "/family", "assistant"),
        ({"family": "assistant", "expert": 96}, "/expert", "experts"),
        ({"family": "assistant", "experts": 64}, "/experts", "about 2 %"),
        ({"family": "assistant", "active": 4}, "/active", "top-2"),
        (
            {"family": "assistant", "experts": 2, "active": 3, "allow_beyond": ["experts", "active"]},
            "/active",
            "3 of 2",
        ),
        ({"family": "assistant", "layers": 2, "dense_layers": 2}, "/dense_layers", "dense"),
        ({"family": "assistant", "prediction": "on"}, "/prediction", "dispatch"),
    ],
)
def test_bad_settings_are_refused_with_the_place(settings_: dict[str, Any], pointer: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        configure(settings_)
    assert error.value.pointer == pointer and hint in error.value.message
