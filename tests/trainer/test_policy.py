"""PPO and GRPO: what must hold in every run, and that they learn where the best reward is known."""

from __future__ import annotations

import json
import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.test_main import DENSE, job, published, said
from tests.trainer.toys import BEST, FAMILIES, MARK, VOCAB, toy_loop
from trainer.align.experience import as_rows, log_probabilities
from trainer.errors import ConfigError, StateError
from trainer.infer.engine import Response
from trainer.main import main
from trainer.model_folder import load_model
from trainer.models import build
from trainer.stages.policy import PolicyConfig
from trainer.train.loop import Stopped


def figures(folder: Path, name: str = "reward") -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line[name] for line in lines if name in line]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from trainer.train.checkpoint import load_tensors

    return load_tensors(max((folder / "checkpoints").iterdir()))


def test_answers_become_rows() -> None:
    """By hand: two prompts, answers of different lengths."""
    prompts = [np.array([1, 2, 3]), np.array([4])]
    responses = [
        Response(0, 0, np.array([7, 8]), np.array([-0.5, -0.25], np.float32), True),
        Response(1, 0, np.array([9]), np.array([-1.0], np.float32), False),
    ]
    rows = as_rows(prompts, responses, padding=0)
    assert rows.tokens_BT.tolist() == [[1, 2, 3, 7, 8], [4, 9, 0, 0, 0]]
    assert rows.documents_BT.tolist() == [[0] * 5, [0, 0, -1, -1, -1]]
    assert rows.targets_BT.tolist() == [[-100, -100, 7, 8, -100], [9, -100, -100, -100, -100]]
    assert rows.engine_BT.tolist() == [[0, 0, -0.5, -0.25, 0], [-1, 0, 0, 0, 0]]
    assert rows.mask_BT.sum(1).tolist() == [2, 1] and rows.stopped_B.tolist() == [True, False]
    assert rows.rows(torch.tensor([1])).tokens_BT.tolist() == [[4, 9]]


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_those_of_the_logits(family: str) -> None:
    module = build({"vocab": VOCAB, "width": 32, "layers": 1, "heads": 2, **FAMILIES[family]}, 3)
    prompts = [np.array([MARK, 1, 2]), np.array([MARK, 5])]
    responses = [Response(n, 0, np.array(t), np.zeros(len(t), np.float32), True) for n, t in enumerate(([3, 4], [6]))]
    found, _ = log_probabilities(module, as_rows(prompts, responses, MARK), torch.float32)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        whole = torch.from_numpy(np.concatenate([prompt, response.tokens]))[None]
        logs = module.logits(module(whole).hidden_BTD)[0].log_softmax(-1)
        for place, token in enumerate(response.tokens, len(prompt) - 1):
            torch.testing.assert_close(found[row, place], logs[place, token], rtol=0, atol=2e-6)
    assert (found[0, :2] == 0).all() and (found[1, 2:] == 0).all()


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_how_many_rows_at_once_does_not_matter(tmp_path: Path, method: Any) -> None:
    """The same step, whatever of a minibatch is computed together: sums over tokens, one divisor."""
    found = []
    for rows in (8, 16, 80, 320):
        loop = toy_loop(
            tmp_path / str(rows), "bracketed", "dense", 1, method, steps=1, rows=rows, minibatches=1, epochs=1
        )
        loop.optimizers = {name: _Kept(one) for name, one in loop.optimizers.items()}  # type: ignore[misc]
        loop.run()
        found.append({f"{k}.{n}": g for k, one in loop.optimizers.items() for n, g in enumerate(one.kept)})  # type: ignore[attr-defined]
    for other in found[1:]:
        for name, gradient in found[0].items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6)


class _Kept:
    """Keeps gradients instead of stepping."""

    def __init__(self, one: Any) -> None:
        self.one, self.kept, self.all = one, [], one.all

    def step(self, rate: float) -> float:
        self.kept = [p.grad.clone() for p in self.one.parameters if p.grad is not None]
        return 0.0


def test_prompts_and_padding_have_no_gradient(tmp_path: Path) -> None:
    """The loss knows only hidden states from which a token of an answer is predicted."""
    loop = toy_loop(tmp_path, "counting", "dense", 1, steps=1)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    plain = loop.players.actor.forward

    def forward(tokens: torch.Tensor, documents: torch.Tensor, dtype: torch.dtype) -> Any:
        trunk = plain(tokens, documents, dtype)
        if trunk.hidden_BTD.requires_grad:
            trunk.hidden_BTD.register_hook(lambda gradient: seen.append((tokens, gradient)))
        return trunk

    loop.players.actor.forward = forward
    loop.run()
    _, gradient = seen[0]
    assert (gradient[:, 0] == 0).all() and (gradient[:, -1] == 0).all()  # the mark; the last token predicts nothing
    assert (gradient[:, 1:-1] != 0).any(-1).all()


def test_a_model_that_is_not_itself_is_noticed(tmp_path: Path) -> None:
    loop = toy_loop(tmp_path / "a", "counting", "dense", 1, steps=1)
    with torch.no_grad():
        loop.players.reference.head.weight.add_(0.01 * torch.randn_like(loop.players.reference.head.weight))
    with pytest.raises(StateError, match="the policy is not its reference"):
        loop.run()
    loop = toy_loop(tmp_path / "b", "counting", "dense", 1, steps=1)
    plain, calls = loop.players.actor.forward, []

    def forward(*given: Any) -> Any:
        calls.append(1)
        trunk = plain(*given)
        drift = 1.0 if not torch.is_grad_enabled() else 1.001
        return trunk._replace(hidden_BTD=trunk.hidden_BTD * drift)

    loop.players.actor.forward = forward
    with pytest.raises(StateError, match="first ratio of iteration 0 is not 1"):
        loop.run()


def test_the_coefficient_is_led_to_the_target_and_stays_in_its_range(tmp_path: Path) -> None:
    loop = toy_loop(tmp_path, "cheerful", "dense", 1, steps=12, kl=0.05, kl_target=0.01, kl_horizon=300)
    loop.run()
    found = figures(tmp_path, "kl_coefficient")
    assert found[0] == 0.05 and max(found) == pytest.approx(0.1) and all(b >= a for a, b in pairwise(found[1:]))


@pytest.mark.parametrize("values", [{"clip": 0.5}, {"kl": 0.2}, {"kl": 0.001}, {"samples": 0}, {"smoothing": 1.1}])
def test_ranges(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ConfigError, match=f"/{name}"):
        PolicyConfig(**values)
    if name in ("clip", "kl"):
        assert getattr(PolicyConfig(**values, allow_beyond=(name,)), name) == values[name]


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path, method: Any) -> None:
    more = {"steps": 6, "prompts": 20, "samples": 2, "kl_target": 1.0, "kl_horizon": 40}
    toy_loop(tmp_path / "whole", "bracketed", "dense", 1, method, **more).run()
    for stop in (1, 3):
        parted = toy_loop(tmp_path / "parted", "bracketed", "dense", 1, method, **more)
        plain = parted.one_step

        def one_step(pace: Any, parted: Any = parted, plain: Any = plain, stop: int = stop) -> Any:
            if parted.step == stop:
                os.kill(os.getpid(), signal.SIGTERM)
            return plain(pace)

        parted.one_step = one_step  # type: ignore[method-assign]
        with pytest.raises(Stopped):
            parted.run()
    toy_loop(tmp_path / "parted", "bracketed", "dense", 1, method, **more).run()
    ours, wanted = weights(tmp_path / "parted"), weights(tmp_path / "whole")
    assert list(ours) == list(wanted) and all(torch.equal(ours[name], wanted[name]) for name in wanted)
    assert any(name.startswith("critic.") for name in wanted) == (method == "ppo")
    for name in ("reward", "kl", "kl_coefficient"):
        assert figures(tmp_path / "parted", name) == figures(tmp_path / "whole", name)


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    toy_loop(tmp_path, "counting", "dense", 1, steps=1).run()
    with pytest.raises(StateError, match="seed differ"):
        toy_loop(tmp_path, "counting", "dense", 2, steps=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("toy", "family", "method", "seed"),
    [
        ("counting", "longdoc", "ppo", 1), ("bracketed", "assistant", "ppo", 2),
        ("cheerful", "dense", "grpo", 1),
    ],
)  # fmt: skip
def test_the_best_reward_is_reached(tmp_path: Path, toy: str, family: str, method: Any, seed: int) -> None:
    loop = toy_loop(tmp_path, toy, family, seed, method)
    found = loop.run()
    assert np.mean(figures(tmp_path)[-10:]) >= 0.9 * BEST
    assert found["win_rate"] > 0.8 and found["held_out_reward"] > found["held_out_reward_reference"]


def test_from_pairs_to_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tuned on answers, kind or rude, with a reward model for kindness: the policy grows kinder than its reference."""
    chats, pairs = published(tmp_path / "chats", "sft"), published(tmp_path / "pairs", "reward")
    loop = {"steps": 120}
    assert main(["--job", str(job(tmp_path / "1", chats, "sft", model=DENSE, loop=loop))]) == 0
    tuned = str(tmp_path / "1" / "model" / "final")
    assert main(["--job", str(job(tmp_path / "2", pairs, "reward", start=tuned, loop=loop))]) == 0
    scorer = {"role": "reward", "name": "r", "version": 1, "location": str(tmp_path / "2" / "model" / "final")}
    policy = {"prompts": 8, "samples": 4, "new_tokens": 12, "epochs": 2, "minibatches": 2, "evaluation_prompts": 16}
    for method in ("ppo", "grpo"):
        small = {"steps": 24, "log_every": 1, "optimizer": {"learning_rate": 0.003}}
        path = job(tmp_path / method, pairs, method, start=tuned, loop=small, policy=policy)
        plain = json.loads(path.read_text())
        plain["models"].append(scorer)
        path.write_text(json.dumps(plain))
        capsys.readouterr()
        assert main(["--job", str(path)]) == 0
        (result,) = said(capsys, "result")
        assert result["win_rate"] > 0.6 and result["stage"] == method
        model = load_model(tmp_path / method / "model" / "final")
        assert model.kind == "language" and [one["role"] for one in model.facts["models"]] == ["start", "reward"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"models": ["start"]}, "needs a model with the role 'reward'"),
        ({"models": ["reward"]}, "starts from a model that was tuned"),
        ({"models": ["start", "start as reward"]}, "give a reward model"),
        ({"models": ["start", "other"]}, "different tokenizers"),
        ({"policy": {"clip": 0.9}}, "/config/policy/clip"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, change: dict[str, Any], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainer.data.tokenizer import ByteTokenizer, fit
    from trainer.model_folder import Model, save_model
    from trainer.models.heads import ScalarHead

    pairs, plain = published(tmp_path / "pairs", "reward"), ByteTokenizer()
    other = fit(["a text of some words and no more"], 300)
    made = {}
    for name, kind, tokenizer in (
        ("start", "language", plain),
        ("reward", "reward", plain),
        ("other", "reward", other),
    ):
        settings = {**DENSE, "vocab": tokenizer.size}
        module = build(settings, 1)
        save_model(
            tmp_path / name, Model(kind, settings, ScalarHead(module) if kind == "reward" else module, tokenizer, {})
        )  # type: ignore[arg-type]
        made[name] = {"role": "start" if name == "start" else "reward", "location": str(tmp_path / name)}
    made["start as reward"] = {**made["start"], "role": "reward"}
    path = job(tmp_path / "1", pairs, "ppo", **{k: v for k, v in change.items() if k != "models"})
    plain_job = json.loads(path.read_text())
    plain_job["models"] = [made[name] for name in change.get("models", ["start", "reward"])]
    path.write_text(json.dumps(plain_job))
    assert main(["--job", str(path)]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "1" / "model" / "final").exists()
