"""What commands around models do: here, on folders, or with ``--url`` at a service, on versions."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from cli.config_file import read_config
from cli.remote import connected, plain_json, shown
from cli.show import cell, line, terminal, visible
from cli.trainer_job import dataset_at, foreign_model_at, model_at, run_job, with_role
from cli.trainer_versions import versions
from curation.errors import InputError, RunError

console = terminal()
HIDDEN = ("task", "path", "first", "table")  # of a result: shown otherwise, or not for people


@dataclass(frozen=True)
class Where:
    """Where a question is asked.

    Attributes:
        url, key: of a service; here, where there is no url.
        output: folder of what is written here; one that is gone afterwards, by default.
        quiet: no progress.
        as_json: whether programs read along.
    """

    url: str | None
    key: str | None
    output: Path | None
    quiet: bool
    as_json: bool


@dataclass(frozen=True)
class Answer:
    """What came out.

    Attributes:
        result: of the task.
        rows: of a file that it wrote.
    """

    result: Mapping[str, Any]
    rows: Callable[[str], Iterator[Any]]


def train_command(
    where: Where, config: Path, changes: list[str], datasets: list[str], models: list[str], output: Path
) -> None:  # fmt: skip
    """``gristmill train``, which is done here also where a service has what is trained on."""
    if not datasets:
        raise InputError("give at least one --dataset")
    plain = read_config(config, changes)
    with versions(where.url, where.key, output, where.quiet) as there:
        given = [there.model(one, "start") for one in models]
        read = [there.dataset(one) for one in datasets]
    found = run_job("train", plain, output, models=given, datasets=read, quiet=where.quiet)
    _written(found, "model", output, where.as_json)


def export_command(model: str, output: Path, config: dict[str, Any], quiet: bool, as_json: bool) -> None:
    """``gristmill export``."""
    found = run_job("export", config, output, models=[model_at(model, "model")], quiet=quiet)
    _written(found, "path", output, as_json)


def import_command(folder: str, output: Path, quiet: bool, as_json: bool) -> None:
    """``gristmill import``."""
    found = run_job("import", {}, output, models=[foreign_model_at(folder, "model")], quiet=quiet)
    _written(found, "model", output, as_json)


def _written(result: Mapping[str, Any], name: str, output: Path, as_json: bool) -> None:
    """A result, and where the folder lies that its field ``name`` speaks of."""
    if as_json:
        print(plain_json(result))
        return
    _facts(result)
    if name in result:
        console.print(line(f"{name}  {output / str(result[name])}"), soft_wrap=True)


@contextmanager
def asked(
    where: Where, task: str, models: Sequence[tuple[str, str]], datasets: Sequence[str], config: Mapping[str, Any]
) -> Iterator[Answer]:
    """Ask models something.

    Args:
        models: each with its role.
    """
    if where.url is not None:
        if where.output is not None:
            raise InputError("belongs to what is done here; a service keeps what it writes", "--output")
        given = [f"{role}={with_role(one)[1]}" for one, role in models]
        with connected(where.url, where.key) as client:
            started = client.evaluations.start(f"gristmill {task}", task, given, datasets, config)
            run = client.runs.wait(started["id"])
            if run["state"] != "succeeded":
                raise RunError(": ".join(filter(None, [f"evaluation {run['id']} {run['state']}", run["reason"]])))
            yield Answer(run["result"], lambda file: client.evaluations.rows(run["id"], file))
        return
    given_here = [model_at(one, role) for one, role in models]
    read = [dataset_at(one) for one in datasets]
    with tempfile.TemporaryDirectory(prefix="gristmill-") as spare:
        output = where.output or Path(spare)
        found = run_job(task, config, output, models=given_here, datasets=read, quiet=where.quiet)
        yield Answer(found, lambda file: _rows(output / file))


def _rows(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def generate_command(
    where: Where, model: str, prompts: list[str], file: Path | None, datasets: list[str], config: dict[str, Any]
) -> None:
    """``gristmill generate``."""
    given = [*prompts, *(_prompts(file) if file else [])]
    if bool(given) == bool(datasets):
        raise InputError("give prompts (--prompt, --prompts) or --dataset, one of both")
    if given:
        config["prompts"] = given
    with asked(where, "generate", [(model, "model")], datasets, config) as answer:
        rows = answer.rows("responses.jsonl")
        if where.as_json:
            print(plain_json({**answer.result, "responses": list(rows)}))
        elif where.output is not None:
            _facts(answer.result)
            console.print(line(f"responses  {where.output / 'responses.jsonl'}"), soft_wrap=True)
        else:
            for row in rows:
                _show_response(row, alone=answer.result.get("responses") == 1)


def _prompts(file: Path) -> list[Any]:
    """Prompts of a file: a line each; of ``.jsonl``, a text, messages, or an object with ``prompt`` or ``messages``."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(file)) from None
    except UnicodeDecodeError:
        raise InputError("is no text in UTF-8", str(file)) from None
    lines = [one for one in text.splitlines() if one.strip()]
    if file.suffix != ".jsonl":
        return lines
    found = []
    for number, one in enumerate(lines, 1):
        try:
            prompt = json.loads(one)
        except ValueError as error:
            raise InputError(f"is not JSON: {error}", f"{file}:{number}") from None
        found.append(prompt.get("prompt", prompt.get("messages")) if isinstance(prompt, dict) else prompt)
    return found


def _show_response(row: Mapping[str, Any], alone: bool) -> None:
    if not alone:
        words = row["asked"] if isinstance(row["asked"], str) else row["asked"][-1]["content"]
        console.print(line(f"── {words}"), soft_wrap=True)
    console.print(visible(row["text"]), soft_wrap=True)
    if not alone:
        console.print()


def perplexity_command(where: Where, model: str, datasets: list[str], config: dict[str, Any]) -> None:
    """``gristmill perplexity``."""
    if not datasets:
        raise InputError("give at least one --dataset")
    with asked(where, "perplexity", [(model, "model")], datasets, config) as answer:
        _show(where, answer.result)


def compare_command(
    where: Where, models: list[str], reward: str | None, outcomes: Path | None, datasets: list[str],
    config: dict[str, Any],
) -> None:  # fmt: skip
    """``gristmill compare``."""
    if outcomes is not None:
        if models or reward or datasets:
            raise InputError("outcomes are compared without models and datasets", "--outcomes")
        config |= {"evidence": "outcomes", "rows": _outcomes(outcomes)}
    elif len(models) != 2:
        raise InputError("give two models, or --outcomes of a live test")
    elif reward is not None:
        config.setdefault("evidence", "answers")
    given = [(model, role) for model, role in zip(models, ("a", "b"), strict=False)]
    given += [(reward, "reward")] if reward is not None else []
    with asked(where, "compare", given, datasets, config) as answer:
        _show(where, answer.result)


def _outcomes(file: Path) -> list[dict[str, Any]]:
    """Rows of a live test: CSV with ``unit,variant,outcome``, or JSON lines with these names."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            if file.suffix == ".csv":
                return [{**row, "outcome": float(row["outcome"])} for row in csv.DictReader(lines)]
            return [json.loads(one) for one in lines if one.strip()]
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(file)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"has no rows of unit, variant and outcome: {error}", str(file)) from None


def cost_command(where: Where, models: list[str], config: dict[str, Any]) -> None:
    """``gristmill cost``."""
    with asked(where, "cost", [(model, "model") for model in models], [], config) as answer:
        _show(where, answer.result)


def _show(where: Where, result: Mapping[str, Any]) -> None:
    if where.as_json:
        print(plain_json(result))
    elif "table" in result:
        console.print(visible(str(result["table"])), soft_wrap=True)
    else:
        _facts(result)


def _facts(result: Mapping[str, Any]) -> None:
    """Figures of a result, one a line; figures of groups as a table each."""
    given = {n: v for n, v in result.items() if n not in HIDDEN and v not in (None, "", [], {})}
    groups = {n: v for n, v in given.items() if isinstance(v, dict) and all(isinstance(o, dict) for o in v.values())}
    plain = {n: v for n, v in given.items() if n not in groups}
    width = max(map(len, plain), default=0)
    for name, value in plain.items():
        console.print(line(f"{name:<{width}}  {shown(value)}"), soft_wrap=True)
    for name, group in groups.items():
        every = dict.fromkeys(figure for one in group.values() for figure in one)
        figures = [figure for figure in every if not figure.endswith("_error")]
        table = Table(name.removeprefix("by_"), box=None, pad_edge=False)
        for figure in figures:
            table.add_column(figure, justify="right")
        for key, one in group.items():
            table.add_row(cell(key), *(cell(shown(one.get(figure))) for figure in figures))
        console.print()
        console.print(table)
