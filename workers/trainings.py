"""Trainings: a trainer is a process that is told its job in a file and speaks in JSON lines; see docs/trainings.md.

The trainer knows nothing of the service.  Its state lies in the run's folder, so that another attempt goes on where
this one ended.
"""

from __future__ import annotations

import contextlib
import json
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from curation.errors import InputError, RunError
from pipelines.canonical import digest_bytes, pretty_json
from pipelines.storage import MANIFEST, Storage
from workers.progress import Progress

BAD_INPUT = 2  # exit code
GRACE_SECONDS = 60.0  # to save its state in, after SIGTERM
LONGEST_LINE = 1 << 16
LAST_WORDS = 40  # lines of standard error that are remembered
_POLL = 0.25


def train(work: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Run the trainer until it has ended.

    Returns:
        What the trainer said of its model.

    Raises:
        InputError: the trainer refused its job.
        RunError: a dataset is not what it was when the training was submitted, or there is no such trainer.
    """
    for dataset in work["request"]["datasets"]:
        _check_dataset(dataset)
    job = _write_job(work)
    command = [*_command(work["trainer_command"]), "--job", str(job)]
    progress.log("info", f"starting {shlex.join(command)}")
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise RunError(
            f"the trainer cannot be started ({error}); see GRISTMILL_TRAINER_COMMAND, now {work['trainer_command']!r}"
        ) from None
    return _Trainer(process, progress).follow()


def _command(text: str) -> list[str]:
    """The trainer's command; ``python`` is the one that runs this."""
    words = shlex.split(text)
    return [sys.executable, *words[1:]] if words[:1] == ["python"] else words


def _check_dataset(dataset: dict[str, Any]) -> None:
    storage = Storage(dataset["location"])
    manifest = storage.manifest("")
    if manifest is None or digest_bytes(storage.read(MANIFEST)) != dataset["manifest_digest"]:
        raise RunError(
            f"dataset {dataset['name']} version {dataset['version']} is not what it was: {dataset['location']} holds "
            "no complete manifest, or another one"
        )


def _write_job(work: dict[str, Any]) -> Path:
    """The job as a file of the run's folder; the same for every attempt."""
    folder = Path(work["output"])
    if "://" in work["output"]:
        raise InputError("a trainer writes to a local folder; set GRISTMILL_RUNS_ROOT to one", work["output"])
    folder.mkdir(parents=True, exist_ok=True)
    request = work["request"]
    job = {"datasets": request["datasets"], "config": request["config"], "output": str(folder / "model")}
    path = folder / "job.json"
    Storage(str(folder)).write("job.json", pretty_json(job))
    return path


class _Trainer:
    """A trainer that runs: what it says goes to the progress, what is wanted of it comes from there."""

    def __init__(self, process: subprocess.Popen[bytes], progress: Progress) -> None:
        self.process, self.progress = process, progress
        self._lines: queue.Queue[bytes | None] = queue.Queue(maxsize=1000)
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        self._result: dict[str, Any] | None = None
        self._hearing = threading.Lock()
        self._silent = False  # it has closed its output
        self._told_to_stop = False
        self._readers = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]

    def follow(self) -> dict[str, Any]:
        """Until it has ended."""
        for reader in self._readers:
            reader.start()
        self.progress.before_end = self.stop
        try:
            while self._hear_one():
                self.progress.check()
        except BaseException:
            self.stop()
            raise
        if self._told_to_stop:
            threading.Event().wait()  # another thread gives the run back, and ends this process
        return self._ended()

    def stop(self) -> None:
        """Let it save its state, hear what it says of that, and end it."""
        self._told_to_stop = True
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and self._hear_one():
            pass
        self.process.kill()

    def _hear_one(self) -> bool:
        """Hear the next line, or wait a moment for it; False after the last."""
        with self._hearing:
            if self._silent:
                return False
            try:
                line = self._lines.get(timeout=_POLL)
            except queue.Empty:
                return True
            if line is None:
                self._silent = True
                return False
            self._hear(line)
            return True

    def _read(self) -> None:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline(LONGEST_LINE):
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        while line := self.process.stderr.readline(LONGEST_LINE):
            self._words.append(line.decode("utf-8", "replace").rstrip()[:2000])

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            kind = said.pop("type")
            if kind in ("metrics", "checkpoint"):
                values = {str(name): _plain(value) for name, value in list(said.items())[:200]}
                (self.progress.metrics if kind == "metrics" else self.progress.checkpoint)(values)
            elif kind == "progress":
                self.progress.state(phase=str(said.get("phase", "training")), done=int(said["done"]),
                                    total=int(said["total"]))  # fmt: skip
            elif kind == "log":
                level = said.get("level", "info")
                self.progress.log(level if level in ("info", "warning", "error") else "info", str(said["text"]))
            elif kind == "result":
                self._result = dict(said)
            else:
                raise ValueError(f"unknown type {kind!r}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            text = line.decode("utf-8", "replace").rstrip()[:500]
            self.progress.log("warning", f"the trainer said what is no line of its protocol ({error}): {text}")

    def _ended(self) -> dict[str, Any]:
        code = self.process.wait()
        self._readers[1].join(5.0)
        words = "\n".join(self._words)
        if code == 0 and self._result is not None:
            return self._result
        if words:
            self.progress.log("error", words[-4000:])
        last = self._words[-1] if self._words else "it said nothing"
        if code == BAD_INPUT:
            raise InputError(f"the trainer refused its job: {last}")
        if code == 0:
            raise OSError("the trainer ended without a result")
        name = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        raise OSError(f"the trainer ended with {name}: {last}")


def _plain(value: Any) -> float | int | str | None:
    """A value of a point; numbers that JSON has no word for become text."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value if isinstance(value, int | float | str) or value is None else json.dumps(value)[:500]
