"""Scalars over a trunk."""

from __future__ import annotations

import pytest
import torch

from tests.trainer.lively import documents_of, tokens_of
from trainer.models import build
from trainer.models.heads import ScalarHead

FAMILIES = [
    {"family": "dense", "vocab": 23, "width": 16, "layers": 2, "heads": 4},
    {"family": "assistant", "vocab": 23, "width": 16, "layers": 2, "heads": 4, "expert_hidden": 8},
]


@pytest.mark.parametrize("settings", FAMILIES, ids=lambda settings: settings["family"])
def test_scalars_everywhere_and_at_given_places(settings: dict[str, object]) -> None:
    head = ScalarHead(build(settings, 1), seed=2)
    tokens, documents = tokens_of(3, 12, 23), documents_of(3, 12)
    values = head(tokens, documents)
    assert values.shape == (3, 12) and values.dtype == torch.float32
    ends = torch.tensor([[3, 11], [0, -1], [5, 5]])
    picked = head(tokens, documents, ends)
    torch.testing.assert_close(picked[0], values[0, [3, 11]])
    torch.testing.assert_close(picked[2], values[2, [5, 5]])
    assert picked[1, 0] == values[1, 0] and picked[1, 1] == 0
    trunk = head.trunk(tokens, documents)
    torch.testing.assert_close(head.read(trunk.hidden_BTD, ends), picked)


def test_fresh_scores_spread_by_about_one_and_repeat() -> None:
    trunk = build({"family": "dense", "vocab": 23, "width": 64, "layers": 1, "heads": 4}, 1)
    values = ScalarHead(trunk, seed=2)(tokens_of(8, 16, 23))
    assert 0.3 < values.std() < 3
    assert torch.equal(values, ScalarHead(trunk, seed=2)(tokens_of(8, 16, 23)))
    assert not torch.equal(values, ScalarHead(trunk, seed=3)(tokens_of(8, 16, 23)))


def test_an_absent_end_has_no_gradient_and_narrow_trunks_give_wide_scalars() -> None:
    head = ScalarHead(build(FAMILIES[0], 1))
    scores = head(tokens_of(1, 6, 23), None, torch.tensor([[-1]]), torch.bfloat16)
    assert scores.dtype == torch.float32
    scores.sum().backward()
    assert not head.scalar.weight.grad.any()
