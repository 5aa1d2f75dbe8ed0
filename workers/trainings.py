"""Trainings and evaluations: a trainer is a process that is told its job in a file and speaks in JSON lines; see
docs/trainings.md.

The trainer knows nothing of the service.  Its state lies in the run's folder, so that another attempt goes on where
this one ended.
"""

from __future__ import annotations

import contextlib
import queue
import re
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from curation.errors import InputError, RunError
from pipelines.canonical import digest_bytes, pretty_json
from pipelines.model_folder import check_model, read_model
from pipelines.storage import MANIFEST, Storage
from workers.progress import Progress
from workers.trainer_protocol import GRACE_SECONDS, LONGEST_LINE, command_of, failure, heard

LAST_WORDS = 40  # lines of standard error that are remembered
OUTPUTS = {"training": "model", "evaluation": "output"}  # folder of the trainer, below the run's
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_POLL = 0.25


def train(work: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Run the trainer until it has ended.

    Returns:
        What the trainer said of its job; of a training with ``trained``, what there is to register.

    Raises:
        InputError: the trainer refused its job.
        RunError: a dataset or model is not what it was when the training was submitted, there is no such trainer, or
            its model is none.
    """
    for dataset in work["request"]["datasets"]:
        _check_dataset(dataset)
    for model in work["request"].get("models", []):
        check_model(model)
    job = _write_job(work)
    command = [*command_of(work["trainer_command"]), "--job", str(job)]
    progress.log("info", f"starting {shlex.join(command)}")
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise RunError(
            f"the trainer cannot be started ({error}); see GRISTMILL_TRAINER_COMMAND, now {work['trainer_command']!r}"
        ) from None
    result = _Trainer(process, progress).follow()
    result.pop("trained", None)
    if work["kind"] == "training" and "model" in result:
        result["trained"] = _trained(Path(work["output"]), result)
    return result


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
    job = {
        "task": request.get("task", "train"), "datasets": request["datasets"], "models": request.get("models", []),
        "config": request["config"], "output": str(folder / OUTPUTS[work["kind"]]),
    }  # fmt: skip
    path = folder / "job.json"
    Storage(str(folder)).write("job.json", pretty_json(job))
    return path


def _trained(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """What there is to register: the folder that a trainer names as its model.

    Raises:
        RunError: it names no folder of its own, or one that holds no whole model, or another than it says.
    """
    name = result["model"]
    if not isinstance(name, str) or not _FOLDER.fullmatch(name):
        raise RunError(f"the trainer names {name!r} as its model; the name of a folder in its own is expected")
    place = f"{OUTPUTS['training']}/{name}"
    model = read_model(str(folder / place))
    if result.get("digest", model.digest) != model.digest:
        raise RunError(f"the trainer says that its model has the digest {result['digest']}, it has {model.digest}")
    same = {key: getattr(model, key) for key in ("digest", "kind", "family", "stage", "figures")}
    return {"folder": place, **same}


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
            self._words.append(line.decode("utf-8", "replace").rstrip()[:2000].replace("\0", "\ufffd"))

    def _hear(self, line: bytes) -> None:
        try:
            kind, values = heard(line)
        except ValueError as error:
            text = line.decode("utf-8", "replace").rstrip()[:500].replace("\0", "\ufffd")
            self.progress.log("warning", f"the trainer said what is no line of its protocol ({error}): {text}")
            return
        if kind == "metrics":
            self.progress.metrics(values)
        elif kind == "checkpoint":
            self.progress.checkpoint(values)
        elif kind == "progress":
            self.progress.state(**values)
        elif kind == "log":
            self.progress.log(**values)
        else:
            self._result = values

    def _ended(self) -> dict[str, Any]:
        code = self.process.wait()
        self._readers[1].join(5.0)
        if code == 0 and self._result is not None:
            return self._result
        if self._words:
            self.progress.log("error", "\n".join(self._words)[-4000:])
        last = self._words[-1] if self._words else "it said nothing"
        raise failure(code, last) or OSError("the trainer ended without a result")
