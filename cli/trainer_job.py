"""Jobs that the command line does itself: a trainer is a process of its own, told by a file, heard line by line."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.progress import Bars, bars, errors
from cli.show import line
from curation.errors import InputError, RunError
from pipelines.canonical import digest_bytes, pretty_json
from pipelines.locks import locked
from pipelines.model_folder import read_manifest
from pipelines.storage import MANIFEST, Storage
from workers.trainer_protocol import GRACE_SECONDS, LONGEST_LINE, STOPPED, Said, command_of, failure, heard

COMMAND = "GRISTMILL_TRAINER_COMMAND"
LAST_WORDS = 40  # lines of standard error that are remembered
_ROLE = re.compile(r"[a-z][a-z0-9_-]*")


def with_role(given: str) -> tuple[str | None, str]:
    """``ROLE=PLACE`` or ``PLACE``; a place that is there is one, whatever is in its name."""
    role, sign, rest = given.partition("=")
    return (role, rest) if sign and _ROLE.fullmatch(role) and not Path(given).exists() else (None, given)


def dataset_at(given: str) -> dict[str, Any]:
    """A published version, by its folder, as a job has it.

    Raises:
        InputError: there is none.
    """
    role, place = with_role(given)
    storage = Storage(place)
    if storage.manifest("") is None:
        raise InputError(f"is no published version: it has no complete {MANIFEST}{_elsewhere(place)}", place)
    found = {"name": _name(place), "location": str(Path(place).absolute()), "role": role or "corpus"}
    return {**found, "manifest_digest": digest_bytes(storage.read(MANIFEST))}


def model_at(given: str, role: str) -> dict[str, Any]:
    """A model, by its folder, as a job has it.

    Args:
        role: where ``given`` says none.

    Raises:
        InputError: there is none.
    """
    own, place = with_role(given)
    try:
        digest, _files = read_manifest(Storage(place))
    except RunError:
        raise InputError(f"holds no model; a training writes it to OUTPUT/final{_elsewhere(place)}", place) from None
    found = {"name": _name(place), "location": str(Path(place).absolute())}
    return {**found, "role": own or role, "digest": digest}


def foreign_model_at(given: str, role: str) -> dict[str, Any]:
    """A model of another library, by its folder, as a job has it.

    Raises:
        InputError: there is none, or it is one of ours.
    """
    path = Path(given)
    if not (path / "config.json").is_file():
        raise InputError("is no folder of Hugging Face: it has no config.json", given)
    if (path / MANIFEST).is_file():
        raise InputError("is a model already, which --start takes as it is", given)
    return {"name": _name(given), "location": str(path.absolute()), "role": role}


def _name(place: str) -> str:
    """What people call a model: ``small`` for ``models/small/final``."""
    path = Path(place).absolute()
    return path.parent.name if path.name in ("final", "out", "exported") else path.name


def _elsewhere(place: str) -> str:
    return "; NAME@VERSION is for a service, see --url" if "@" in place else ""


def run_job(
    task: str, config: Mapping[str, Any], output: Path, *, models: Iterable[Mapping[str, Any]] = (),
    datasets: Iterable[Mapping[str, Any]] = (), job: Path | None = None, quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Let the trainer do a job, with its progress shown; returns its result.

    Args:
        output: folder; what a training left there is what it goes on from.
        job: where the job is written down; default ``job.json`` in ``output``.

    Raises:
        InputError: the trainer refused its job.
        RunError: somebody else is at work there, or the trainer was told to stop.
        OSError: it broke.
    """
    job = job or output / "job.json"
    plain = {"task": task, "datasets": list(datasets), "models": list(models), "config": dict(config)}
    job.parent.mkdir(parents=True, exist_ok=True)
    with locked(str(job.parent / ".lock"), f"another trainer is at work in {output}"):
        Storage(str(job.parent)).write(job.name, pretty_json({**plain, "output": str(output.absolute())}))
        return _Trainer([*_command(), "--job", str(job.absolute())], quiet).follow()


def _command() -> list[str]:
    given = os.environ.get(COMMAND)
    if given:
        return command_of(given)
    if importlib.util.find_spec("torch") is None:
        raise InputError("the trainer needs the extra 'trainer': pip install 'gristmill[trainer]'")
    return [sys.executable, "-m", "trainer"]


class _Trainer:
    """A trainer at work.

    It has a session of its own: an interrupt of the terminal reaches the command alone, which asks the trainer to save
    its state.
    """

    def __init__(self, command: list[str], quiet: bool) -> None:
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise InputError(f"the trainer cannot be started ({error.strerror}); see {COMMAND}", command[0]) from None
        self._quiet = quiet
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        self._result: dict[str, Any] | None = None

    def follow(self) -> dict[str, Any]:
        """Until it has ended."""
        reader = threading.Thread(target=self._read_errors, daemon=True)
        reader.start()
        with _interrupted_by_sigterm(), bars(self._quiet) as shown:
            try:
                self._hear(shown)
            except KeyboardInterrupt:
                self._stop(shown)
                raise
            finally:
                self._process.kill()
        code = self._process.wait()
        reader.join(5.0)
        if code == STOPPED:
            raise RunError("the trainer was told to stop; its state is saved, the same command goes on from there")
        return self._ended(code)

    def _stop(self, shown: Bars) -> None:
        errors.print(f"the trainer saves its state, for {GRACE_SECONDS:.0f} seconds at most")
        self._process.terminate()
        end = threading.Timer(GRACE_SECONDS, self._process.kill)
        end.start()
        try:
            self._hear(shown)
        finally:
            end.cancel()

    def _hear(self, shown: Bars) -> None:
        assert self._process.stdout is not None
        while text := self._process.stdout.readline(LONGEST_LINE):
            try:
                self._show(heard(text), shown)
            except ValueError as error:
                errors.print(line(f"the trainer said what is no line of its protocol ({error})"), soft_wrap=True)
        self._process.wait()

    def _show(self, said: Said, shown: Bars) -> None:
        values = said.values
        if said.kind == "progress":
            shown.to(values["phase"])(values["done"], values["total"])
        elif said.kind == "log" and (values["level"] != "info" or not self._quiet):
            errors.print(line(values["text"]), soft_wrap=True)
        elif said.kind == "metrics" and not self._quiet:
            errors.print(line("  ".join(f"{name} {_short(value)}" for name, value in values.items())), soft_wrap=True)
        elif said.kind == "result":
            self._result = values

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while text := self._process.stderr.readline(LONGEST_LINE):
            self._words.append(text.decode("utf-8", "replace").rstrip())

    def _ended(self, code: int) -> dict[str, Any]:
        if code == 0 and self._result is not None:
            return self._result
        broken = failure(code, self._words[-1] if self._words else "it said nothing")
        if not isinstance(broken, InputError):
            for text in self._words:
                errors.print(line(text), soft_wrap=True)
        raise broken or OSError("the trainer ended without a result")


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Whoever ends the command ends the trainer in order, too."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
