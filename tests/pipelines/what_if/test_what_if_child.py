"""A question in a process of its own: the same answer, and limits that hold."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from curation.errors import InputError
from pipelines.look import FinishedRun
from pipelines.what_if import child
from pipelines.what_if.answer import what_if
from pipelines.what_if.child import TooMuchMemoryError, TooSlowError, ask_in_child
from tests.support.corpus import english, write_jsonl
from tests.support.runs import PLAIN, run_recipe, write_recipe

ASKED = {"language.language-score": {"default": 0.9, "zh": None}, "read.not-sampled": 0.5}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("child")
    shard = write_jsonl(folder / "s.jsonl", [{"text": english(number // 2)} for number in range(20)])
    run_recipe(write_recipe(folder, PLAIN), [shard], folder / "out")
    return folder / "out"


def test_the_same_answer(output: Path) -> None:
    expected = what_if(FinishedRun(str(output)), ASKED, 3).plain()
    assert ask_in_child(str(output), ASKED, 3) == json.loads(json.dumps(expected))
    assert expected["kept"]["lost"] > 0


def test_errors_come_back_as_they_were(output: Path) -> None:
    with pytest.raises(InputError) as there:
        ask_in_child(str(output), {"language.language-scor": 1})
    with pytest.raises(InputError) as here:
        what_if(FinishedRun(str(output)), {"language.language-scor": 1})
    assert (there.value.message, there.value.where) == (here.value.message, here.value.where)
    assert "did you mean" in there.value.message


def test_no_finished_run(output: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished run") as error:
        ask_in_child(str(tmp_path), {})
    assert error.value.where == str(tmp_path)


def test_memory_is_bounded(output: Path) -> None:
    with pytest.raises(TooMuchMemoryError, match="more than 128 MiB"):
        ask_in_child(str(output), ASKED, memory_bytes=128 << 20)


def test_time_is_bounded(output: Path) -> None:
    began = time.monotonic()
    with pytest.raises(TooSlowError, match=r"within 0\.05 seconds"):
        ask_in_child(str(output), ASKED, seconds=0.05)
    assert time.monotonic() - began < 5


def test_processor_time_is_bounded_when_nobody_waits(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should whoever asked be stopped meanwhile, the process still ends."""
    monkeypatch.setattr(child.os, "cpu_count", lambda: 1)
    question = {"directory": str(output), "thresholds": ASKED, "samples": 1, "memory": 1 << 40, "seconds": 0}
    done = child.subprocess.run(
        [child.sys.executable, "-m", "pipelines.what_if.child"], input=json.dumps(question).encode(), check=False
    )
    assert done.returncode in (-child.signal.SIGXCPU, -child.signal.SIGKILL)
