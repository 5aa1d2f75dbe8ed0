"""The engine: answers are those of naive generation, whoever is beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.trainer.lively import lively, tokens_of
from trainer.errors import ConfigError, DataError, StateError
from trainer.infer.engine import Engine, Response, padded
from trainer.infer.sampling import Sampling, choose, log_probabilities, row_seeds
from trainer.models import build
from trainer.models.common import init_weights
from trainer.models.moe import MoE, moe_naive

VOCAB, STOP = 29, 5
SHAPE = {"vocab": VOCAB, "width": 16, "layers": 2, "heads": 4}
FAMILIES = {
    "dense": {**SHAPE, "family": "dense", "kv_heads": 2},
    "assistant": {**SHAPE, "family": "assistant", "kv_heads": 1, "experts": 12, "allow_beyond": ["experts"]},
    "longdoc": {**SHAPE, "family": "longdoc", "chunk": 8, "pairs": 4, "levels": 5, "allow_beyond": ["chunk"]},
}
MODELS = {name: lively(build(settings, 0)).eval() for name, settings in FAMILIES.items()}
families = pytest.mark.parametrize("family", list(FAMILIES))


def prompts_of(lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(VOCAB, size=length) for length in lengths]


@torch.no_grad()
def naive(model: nn.Module, prompt: np.ndarray, sampling: Sampling, key: int, sample: int) -> Response:
    """The whole forward anew for every token."""
    tokens, chances, seed = list(map(int, prompt)), [], row_seeds(sampling.seed, [key], [sample])
    for position in range(sampling.new_tokens):
        logits = model.logits(model(torch.tensor([tokens])).hidden_BTD[:, -1])
        token = choose(logits, sampling, seed, torch.tensor([position]))
        chances.append(float(log_probabilities(logits, token)))
        tokens.append(int(token))
        if tokens[-1] == STOP:
            break
    new = np.array(tokens[len(prompt) :])
    return Response(key, sample, new, np.array(chances, np.float32), bool(new[-1] == STOP))


def assert_same(got: Response, expected: Response) -> None:
    assert got.tokens.tolist() == expected.tokens.tolist()
    np.testing.assert_allclose(got.log_probabilities, expected.log_probabilities, rtol=0, atol=1e-6)
    assert got.stopped == expected.stopped
    assert got.tokens.dtype == np.int64 and got.log_probabilities.dtype == np.float32


@families
@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.integers(1, 20),
    st.integers(1, 3),
    st.sampled_from([{}, {"temperature": 0.0}, {"temperature": 0.6, "top_p": 0.9}, {"top_k": 5}]),
    st.integers(1, 24),
    st.integers(0, 99),
)
def test_answers_are_those_of_naive_generation(
    family: str, lengths: list[int], slots: int, samples: int, how: dict[str, float], new_tokens: int, seed: int
) -> None:
    """Exact in fp64: ragged prompts, refills, several samples, every way of drawing."""
    model, prompts = MODELS[family], prompts_of(lengths, seed)
    sampling = Sampling(**how, new_tokens=new_tokens, seed=seed)
    engine = Engine(model, slots=slots, stop=[STOP], dtype=torch.float64)
    responses = list(engine.generate(prompts, sampling, samples=samples))
    expected = {(p, s) for p in range(len(prompts)) for s in range(samples)}
    assert len(responses) == len(expected) and {(r.prompt, r.sample) for r in responses} == expected
    for response in responses[:: max(1, len(responses) // 6)]:
        prompt = prompts[response.prompt]
        assert_same(response, naive(model, prompt, sampling, response.prompt, response.sample))


@families
@pytest.mark.parametrize("burst", [2, 5, 8])
def test_looking_less_often_changes_nothing(family: str, burst: int) -> None:
    """As on a GPU: several steps between two looks of the host."""
    prompts, sampling = prompts_of([3, 17, 9, 30, 1, 12, 22, 8, 5, 14, 40]), Sampling(new_tokens=19)
    engine = Engine(MODELS[family], slots=8, stop=[STOP], dtype=torch.float64)
    once = by_name(engine.generate(prompts, sampling, samples=2))
    engine.burst = burst
    often = by_name(engine.generate(prompts, sampling, samples=2))
    assert any(response.stopped for response in once.values())
    assert once.keys() == often.keys()
    for name, response in once.items():
        assert_same(often[name], response)


def by_name(responses: object) -> dict[tuple[int, int], Response]:
    return {(response.prompt, response.sample): response for response in responses}  # type: ignore[attr-defined]


@families
def test_a_response_is_its_own_to_the_bit(family: str) -> None:
    """fp32, in any company, any number of slots, any order."""
    model = build({**FAMILIES[family], "width": 48}, 0)
    prompts, sampling = prompts_of([3, 17, 9, 30, 1, 12, 22, 8, 5, 14, 40]), Sampling(new_tokens=19, top_p=0.95)
    order = np.random.default_rng(1).permutation(len(prompts))
    all_of_them = by_name(Engine(model, slots=8, stop=[STOP], max_tokens=64).generate(prompts, sampling, samples=3))
    some = Engine(model, slots=19, stop=[STOP], max_tokens=64).generate(
        [prompts[n] for n in order[:7]], sampling, samples=2, keys=[int(n) for n in order[:7]]
    )
    for response in some:
        known = all_of_them[int(order[response.prompt]), response.sample]
        assert response.tokens.tolist() == known.tokens.tolist()
        assert response.log_probabilities.tolist() == known.log_probabilities.tolist()


@families
def test_log_probabilities_are_nearly_those_of_the_training_forward(family: str) -> None:
    """fp32: what importance ratios are taken against."""
    model = build(FAMILIES[family], 0)
    prompts = prompts_of([12, 30, 7, 21])
    for response in Engine(model).generate(prompts, Sampling(new_tokens=24)):
        prompt = prompts[response.prompt]
        tokens = torch.tensor(np.concatenate([prompt, response.tokens]))
        with torch.no_grad():
            logits = model.logits(model(tokens[None]).hidden_BTD[0, len(prompt) - 1 : -1])
        expected = log_probabilities(logits, tokens[len(prompt) :])
        np.testing.assert_allclose(response.log_probabilities, expected.numpy(), rtol=0, atol=3e-6)


def test_answers_come_as_they_end() -> None:
    """A short answer does not wait for a long one."""
    prompts = prompts_of([4] * 40)
    responses = list(
        Engine(MODELS["dense"], stop=[STOP], dtype=torch.float64).generate(prompts, Sampling(new_tokens=60))
    )
    ended = [len(response.tokens) for response in responses]
    assert ended != sorted(ended)  # refilled while others went on
    assert [response.prompt for response in responses] != sorted(response.prompt for response in responses)


def test_samples_differ_and_seeds_and_keys_count() -> None:
    engine, prompt = Engine(MODELS["dense"], dtype=torch.float64), prompts_of([6])
    sampling = Sampling(new_tokens=12)

    def said(**more: object) -> list[list[int]]:
        found = engine.generate(prompt, **({"sampling": sampling} | more))  # type: ignore[arg-type]
        return [response.tokens.tolist() for response in sorted(found, key=lambda response: response.sample)]

    four = said(samples=4)
    assert len({tuple(tokens) for tokens in four}) == 4
    assert said() == four[:1]
    assert said(keys=[0]) == said() != said(keys=[1])
    assert said(sampling=Sampling(new_tokens=12, seed=2)) != said()


@pytest.mark.parametrize("length", range(1, 600, 7))
def test_prompts_are_padded_by_their_own_length_and_not_by_much(length: int) -> None:
    assert length <= padded(length) < length + max(16, length / 4 + 1)
    assert padded(length) % 16 == 0 and padded(padded(length)) == padded(length)


def test_what_cannot_be_answered_is_refused() -> None:
    engine = Engine(MODELS["longdoc"])
    with pytest.raises(DataError, match="prompt 1 is empty"):
        engine.generate([np.array([1]), np.array([], np.int64)], Sampling())
    with pytest.raises(DataError, match="outside of the model's 29"):
        engine.generate([np.array([29])], Sampling())
    with pytest.raises(DataError, match="1 prompts have 2 keys"):
        engine.generate([np.array([1])], Sampling(), keys=[1, 2])
    with pytest.raises(ConfigError, match=r"/new_tokens: .* 256 tokens; there is room for 255"):
        engine.generate([np.array([1])], Sampling(new_tokens=255))
    with pytest.raises(ConfigError, match="room for 20"):
        Engine(MODELS["dense"], max_tokens=20).generate([np.array([1])], Sampling(new_tokens=20))
    with pytest.raises(ConfigError, match="/slots"):
        Engine(MODELS["dense"], slots=0)
    with pytest.raises(ConfigError, match="/samples"):
        engine.generate([np.array([1])], Sampling(), samples=0)
    assert list(engine.generate([], Sampling())) == []


@pytest.mark.parametrize("burst", [1, 8])
def test_a_row_may_be_as_long_as_the_model_can_hold(burst: int) -> None:
    engine = Engine(MODELS["longdoc"], dtype=torch.float64)
    engine.burst = burst
    (response,) = engine.generate(prompts_of([250]), Sampling(new_tokens=5))
    assert_same(response, naive(MODELS["longdoc"], prompts_of([250])[0], Sampling(new_tokens=5), 0, 0))


def test_rows_of_a_dense_state_can_be_replaced() -> None:
    model, tokens = MODELS["dense"], tokens_of(3, 40, VOCAB)
    hidden = model(tokens).hidden_BTD
    state = model.state(3, tokens.device, torch.float64, 40)
    model.decode(tokens[:, :20], state, torch.tensor([20, 9, 14]))
    other = model.state(2, tokens.device, torch.float64, 40)
    model.decode(tokens[1:, :6], other, torch.tensor([5, 6]))
    state.put(torch.tensor([2, 0]), other)
    for t in range(3):
        out = model.decode(torch.stack((tokens[2, 6 + t], tokens[1, 9 + t], tokens[1, 5 + t]))[:, None], state)
        expected = torch.stack((hidden[2, 6 + t], hidden[1, 9 + t], hidden[1, 5 + t]))
        torch.testing.assert_close(out[:, 0], expected, rtol=0, atol=1e-12)
    assert state.bounds == state.used_B.tolist() == [9, 12, 8]
    small, grows = (model.state(1, tokens.device, torch.float64, room) for room in (4, None))
    with pytest.raises(StateError, match="for 4 tokens cannot hold 9"):
        small.put(torch.tensor([0]), state.rows(torch.tensor([0])))
    grows.put(torch.tensor([0]), state.rows(torch.tensor([0])))
    out = model.decode(tokens[2:, 9:10], grows)
    torch.testing.assert_close(out[0, 0], hidden[2, 9], rtol=0, atol=1e-12)


def test_a_prompt_may_end_in_the_last_chunk_of_a_state() -> None:
    model, tokens = MODELS["longdoc"], tokens_of(1, 63, VOCAB)
    state = model.state(1, tokens.device, torch.float64, 63)
    out = model.decode(tokens[:, :60], state)
    torch.testing.assert_close(out, model(tokens).hidden_BTD[:, :60], rtol=0, atol=1e-12)


def test_experts_can_work_row_by_row_to_the_bit() -> None:
    """From 8 rows on, whoever else chose an expert: the same as all rows together, and the definition."""
    layer = MoE(32, 24, 12, 2)
    init_weights(layer, 0)
    x = torch.randn(70, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = layer(x, steady=True)[0]
        torch.testing.assert_close(together, moe_naive(layer, x), rtol=0, atol=1e-6)
        for rows in (8, 9, 16, 40):
            assert torch.equal(layer(x[:rows], steady=True)[0], together[:rows]), rows
