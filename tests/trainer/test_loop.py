"""The loop: what is killed goes on to the very same weights; what is wrong is refused and nothing is overwritten."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainer.errors import ConfigError, StateError
from trainer.models.common import Linear, init_weights
from trainer.train.checkpoint import facts_of, load_tensors
from trainer.train.loop import Loop, LoopConfig, Loss, Stopped
from trainer.train.optimizer import OptimizerConfig
from trainer.train.schedule import ScheduleConfig, factor


class Net(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Linear(width, width), Linear(width, width)])
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return x * self.scale


class Points:
    """Batches that follow from their number."""

    def __init__(self, rows: int = 4, width: int = 8) -> None:
        self.rows, self.width, self.position = rows, width, 0

    def __next__(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.position)
        self.position += 1
        return torch.randn(self.rows, self.width, generator=generator)

    def state(self) -> dict[str, int]:
        return {"position": self.position}

    def restore(self, state: dict[str, int]) -> None:
        self.position = state["position"]


class Nearer:
    """Brings the net to the identity turned round."""

    def __init__(self, net: Net, slow: float = 0.0) -> None:
        self.net, self.slow = net, slow

    def weight(self, batch: Tensor) -> float:
        return float(len(batch))

    def loss(self, batch: Tensor) -> Loss:
        time.sleep(self.slow)
        return Loss(((self.net(batch) + batch) ** 2).sum(), {}, {"first": batch[0, 0]})

    def flops(self, batch: Tensor) -> float:
        return 1.0


def loop(output: Path, slow: float = 0.0, width: int = 8, seed: int = 1, rows: int = 4, **more: Any) -> Loop:
    net = Net(width)
    init_weights(net, seed)
    config = LoopConfig(**{"steps": 30, "checkpoint_every": 4, "log_every": 5, **more})
    source = Points(rows, width)
    return Loop(config, {"model": net}, Nearer(net, slow), source, output, {"width": width}, torch.device("cpu"))


def weights(output: Path) -> dict[str, Tensor]:
    """The last checkpoint."""
    newest = max((output / "checkpoints").glob("step-*"))
    assert facts_of(newest)["step"] == 30
    return load_tensors(newest)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_it_learns_and_says_so(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    optimizer = OptimizerConfig(kind=kind, learning_rate=0.02)  # type: ignore[arg-type]
    capsys.readouterr()
    one = loop(tmp_path, optimizer=optimizer, steps=200)
    one.run()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    losses = [line["loss"] for line in lines if line["type"] == "metrics"]
    assert losses[-1] < losses[0] / 5
    assert [line["done"] for line in lines if line["type"] == "progress"] == list(range(5, 201, 5))
    stored = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in stored] == list(range(5, 201, 5))
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    few = loop(tmp_path / "few", rows=4, accumulate=3, steps=1)
    many = loop(tmp_path / "many", rows=12, steps=1)

    class Together(Points):
        def __next__(self) -> Tensor:
            return torch.cat([Points.__next__(self) for _ in range(3)])

    many.source = Together(4, 8)
    few.run()
    many.run()
    ours, theirs = (dict(one.modules["model"].named_parameters()) for one in (few, many))
    for name, parameter in ours.items():
        torch.testing.assert_close(parameter, theirs[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path, kind: str) -> None:
    more = {"optimizer": OptimizerConfig(kind=kind)}  # type: ignore[arg-type]
    loop(tmp_path / "whole", **more).run()
    for stop in (3, 8, 17):
        parted = loop(tmp_path / "parted", **more)
        parted.objective.loss = _interrupting(parted, stop)  # type: ignore[method-assign]
        with pytest.raises(Stopped):
            parted.run()
        assert parted.step == stop + 1
    loop(tmp_path / "parted", **more).run()
    assert same(weights(tmp_path / "parted"), weights(tmp_path / "whole"))
    steps = [json.loads(line)["step"] for line in (tmp_path / "parted" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [5, 10, 15, 20, 25, 30]


def _interrupting(one: Loop, stop: int) -> Any:
    plain = one.objective.loss

    def loss(batch: Tensor) -> Loss:
        if one.step == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(batch)

    return loss


SCRIPT = """
import sys
from pathlib import Path
from tests.trainer.test_loop import loop
loop(Path(sys.argv[1]), slow=0.01, checkpoint_every=2).run()
"""


@pytest.mark.slow
@pytest.mark.chaos
def test_kills_at_any_moment(tmp_path: Path) -> None:
    loop(tmp_path / "whole", checkpoint_every=2).run()
    rng, output, kills = random.Random(7), tmp_path / "killed", 0
    command = [sys.executable, "-c", SCRIPT, str(output)]
    while kills < 60:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while process.poll() is None and not list(output.glob("checkpoints/*.partial")) and rng.random() < 0.999:
            time.sleep(0.001)  # many kills fall into saves
        time.sleep(rng.choice([0, 0, 0.002, 0.02]))
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        kills += 1
    process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert kills >= 5
    assert same(weights(output), weights(tmp_path / "whole"))


def test_a_finished_training_does_nothing_again(tmp_path: Path) -> None:
    loop(tmp_path).run()
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    loop(tmp_path).run()
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_another_model_is_refused(tmp_path: Path) -> None:
    loop(tmp_path, steps=4).run()
    before = sorted(file.name for file in tmp_path.rglob("*"))
    with pytest.raises(StateError, match=r"of another training: width differ"):
        loop(tmp_path, width=16)
    assert sorted(file.name for file in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("damage", ["cut", "gone", "state"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    loop(tmp_path, steps=8).run()
    newest = max((tmp_path / "checkpoints").iterdir())
    file = newest / "state.json" if damage == "state" else max(newest.glob("*.distcp"))
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(StateError, match="delete this folder to go on from the checkpoint before it"):
        loop(tmp_path, steps=8)
    assert newest.exists()
    for left in newest.iterdir():
        left.unlink()
    newest.rmdir()
    assert loop(tmp_path, steps=8).step == 4


def test_no_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trainer.train.checkpoint as module

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.dcp, "save", full)
    with pytest.raises(StateError, match=r"could not be written to .*No space left on device"):
        loop(tmp_path).run()
    assert not list((tmp_path / "checkpoints").glob("step-????????"))


def test_schedules_by_hand() -> None:
    trapezoid = ScheduleConfig(kind="trapezoid", warmup=0.1, decay=0.2, floor=0.1)
    rates = [factor(trapezoid, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11) and rates[10] == rates[79] == 1.0 and rates[90] == pytest.approx(0.55)
    cosine = ScheduleConfig(kind="cosine", warmup=0.0)
    assert factor(cosine, 50, 100) == pytest.approx(0.5) and factor(cosine, 0, 100) == 1.0
    linear = ScheduleConfig(kind="linear", warmup=0.0)
    assert factor(linear, 25, 100) == pytest.approx(0.75)
    assert factor(ScheduleConfig(kind="constant", warmup=0.0), 99, 100) == 1.0
    for kind in ("trapezoid", "cosine", "linear", "constant"):
        assert all(factor(ScheduleConfig(kind=kind), step, 7) > 0 for step in range(7))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="/decay"):
        ScheduleConfig(warmup=0.6, decay=0.6)


def test_tensorboard_reads_what_the_lines_say(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loop(tmp_path, log_every=1, steps=8, tensorboard=True).run()
    shutil.rmtree(max((tmp_path / "checkpoints").iterdir()))  # it was killed before the last one was written
    loop(tmp_path, log_every=1, steps=8, tensorboard=True).run()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("loss", "learning_rate", "gradient_norm"):
        told = [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines if name in line]
        assert [(event.step, event.value) for event in board.Scalars(name)] == told and len(told) == 8


def test_tensorboard_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"/config/loop/tensorboard: .*pip install 'gristmill\[tensorboard\]'"):
        loop(tmp_path, tensorboard=True)
