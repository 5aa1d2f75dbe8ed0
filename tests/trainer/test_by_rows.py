"""Prompts read row by row are what they are when read together."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainer.errors import StateError
from trainer.models import build, by_rows

CPU = torch.device("cpu")
FAMILIES: dict[str, dict[str, Any]] = {
    "longdoc": {"chunk": 8, "pairs": 4, "allow_beyond": ["chunk"]},
    "dense": {"kv_heads": 1},
    "assistant": {"kv_heads": 1, "experts": 96, "expert_hidden": 8},
}
LENGTHS = [None, [40, 40, 40], [40, 0, 17]]


def answered(model: Any, tokens: torch.Tensor, lengths: list[int] | None, most: int | None) -> tuple[Any, Any, Any]:
    """Hidden states of prompts and of five steps after them, and the state."""
    state = model.state(len(tokens), CPU, torch.float64, most)
    counts = None if lengths is None else torch.tensor(lengths)
    read = model.decode(tokens[:, :40], state, counts)
    steps = [model.decode(tokens[:, t : t + 1], state) for t in range(40, 45)]
    return read, torch.cat(steps, 1), state


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("most", [64, None])
def test_row_by_row_is_together(
    family: str, lengths: list[int] | None, most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build({"family": family, "vocab": 23, "width": 16, "layers": 2, "heads": 2, **FAMILIES[family]}, 1)
    model = model.double().eval()
    tokens = torch.randint(23, (3, 45), generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr(by_rows, "LONG", 1_000)
    read, steps, state = answered(model, tokens, lengths, most)
    calls = []
    monkeypatch.setattr(by_rows, "LONG", 40)
    watched = model.norm.register_forward_hook(lambda *given: calls.append(given[2].shape[:2]))
    read_alone, steps_alone, state_alone = answered(model, tokens, lengths, most)
    watched.remove()

    assert calls == [(1, 40)] * 3 + [(3, 1)] * 5
    counts = torch.arange(40) < torch.tensor(lengths or [40] * 3)[:, None]
    torch.testing.assert_close(read_alone[counts], read[counts], rtol=0, atol=1e-12)
    torch.testing.assert_close(steps_alone, steps, rtol=0, atol=1e-12)
    assert state_alone.used_B.tolist() == state.used_B.tolist() == [5 + n for n in lengths or [40] * 3]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_finds_no_room_is_not_begun(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build({"family": family, "vocab": 23, "width": 16, "layers": 2, "heads": 2, **FAMILIES[family]}, 1)
    state = model.state(2, CPU, torch.float32, 30)
    monkeypatch.setattr(by_rows, "LONG", 1)
    with pytest.raises(StateError):
        model.decode(torch.zeros(2, 45, dtype=torch.long), state)
    assert state.used_B.tolist() == [0, 0]
    assert state.empty
