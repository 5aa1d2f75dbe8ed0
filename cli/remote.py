"""What the commands that speak to a service have in common: options, errors, output for people and for programs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, get_type_hints

import typer
from rich.table import Table

from cli.failures import exit_codes
from cli.show import cell, line, terminal, visible
from curation.errors import GristmillError, InputError

if TYPE_CHECKING:
    from api.client import Client

Url = Annotated[str | None, typer.Option("--url", help="Default: GRISTMILL_URL, then this machine.")]
Key = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--key", help="API key; better in GRISTMILL_KEY, since others see a command line."),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]
Most = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]

# Options that say what a job is.
Recipe = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(help="Recipe file (YAML), or a packaged recipe: crawl, fineweb, ccnet, preferences, instructions."),
]
Pipeline = Annotated[Optional[str], typer.Option(help="NAME or NAME@REVISION, instead of a recipe.")]  # noqa: UP045
Inputs = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--input", "-i", help="SOURCE:PATH; a file, folder or pattern below a source.  May be repeated."),
]
Thresholds = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--threshold", "-t", help="stage.rule=0.9, =off, or by language =en:0.9,zh:0.5,default:off.  May be repeated."
    ),
]
Publish = Annotated[Optional[str], typer.Option(help="Dataset that gets a version of it when it succeeds.")]  # noqa: UP045
Earlier = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="Dataset, NAME or NAME@VERSION, whose documents come first.  May be repeated."),
]
Tags = Annotated[Optional[list[str]], typer.Option("--tag", help="May be repeated.")]  # noqa: UP045
Samples = Annotated[int, typer.Option(min=0, max=100, help="How many samples of each.")]
_COMMON: dict[str, tuple[Any, Any]] = {"url": (Url, None), "key": (Key, None), "as_json": (Json, False)}


class Remote:
    """A service, and how to show what it says.

    Attributes:
        client: of the service.
        as_json: whether programs read along.
    """

    def __init__(self, client: Client, as_json: bool) -> None:
        self.client, self.as_json = client, as_json
        self.console = terminal()

    def show(self, data: Any, for_people: Callable[[Any], None]) -> None:
        """Data as JSON, or as people want it."""
        if self.as_json:
            print(plain_json(data))
        else:
            for_people(data)

    def say(self, text: str) -> None:
        """One line, whatever is in it."""
        self.console.print(line(text), soft_wrap=True)

    def plain(self, data: Any) -> None:
        """Data as it is, for people: every script is readable, and nothing is obeyed."""
        self.console.print(visible(json.dumps(data, indent=2, ensure_ascii=False)), soft_wrap=True)

    def table(self, rows: Iterable[Iterable[Any]], *columns: str, empty: str = "none") -> None:
        """A table; columns whose name ends with ``#`` hold numbers."""
        table = Table(box=None, pad_edge=False)
        for name in columns:
            table.add_column(name.rstrip("#"), justify="right" if name.endswith("#") else "left", overflow="fold")
        table.columns[0].no_wrap = True
        for row in rows:
            table.add_row(*(cell(shown(value)) for value in row))
        if table.row_count:
            self.console.print(table)
        else:
            self.say(empty)

    def facts(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Names and values, one a line; what is not there is left out."""
        given = [(name, shown(value)) for name, value in pairs if value not in (None, "", [], {})]
        width = max((len(name) for name, _ in given), default=0)
        for name, value in given:
            self.say(f"{name:<{width}}  {value}")


def plain_json(data: Any, indent: int | None = 2) -> str:
    """JSON that a terminal can show whatever is in it."""
    return json.dumps(data, indent=indent, ensure_ascii=True).replace("\x7f", "\\u007f")


def shown(value: Any) -> str:
    """A value of the API as a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(shown(one) for one in value)
    return value if isinstance(value, str) else plain_json(value, None)


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that asks a service.

    Its function gets a ``Remote`` first; ``--url``, ``--key`` and ``--json`` are added to its options.
    """

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(url: str | None, key: str | None, as_json: bool, **given: Any) -> None:
            with exit_codes(), connected(url, key) as client:
                function(Remote(client, as_json), **given)

        del run.__wrapped__  # type: ignore[attr-defined]
        run.__signature__ = signature = _signature(function)  # type: ignore[attr-defined]
        run.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        return app.command(name)(run)

    return add


def _signature(function: Callable[..., None]) -> inspect.Signature:
    """What a command takes: what its function takes besides the ``Remote``, and what all take."""
    hints = get_type_hints(function, include_extras=True)
    _, *own = inspect.signature(function).parameters.values()
    given = {parameter.name: (hints[parameter.name], parameter.default) for parameter in own}
    given = {name: pair for name, pair in given.items() if not name.startswith("_")} | _COMMON
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=default)
        for name, (hint, default) in given.items()
    ]
    return inspect.Signature(parameters)


@contextmanager
def connected(url: str | None, key: str | None) -> Iterator[Client]:
    """A client; what the service refuses because of what it was asked becomes an ``InputError``."""
    try:
        from api.client import Client, ServiceError
    except ModuleNotFoundError as error:
        if error.name != "requests":
            raise
        raise InputError("requests is not installed; pip install 'gristmill[service]'") from None
    with Client(url, key) as client:
        try:
            yield client
        except ServiceError as error:
            hint = "; give a key in GRISTMILL_KEY" if error.code == "key-required" else ""
            kind = InputError if error.is_mine else GristmillError
            raise kind(f"{error}{hint}") from None


def thresholds_of(given: Iterable[str] | None) -> dict[str, Any] | None:
    """``stage.rule=…`` as the API has them.

    Raises:
        InputError: naming the one that cannot be read.
    """
    found: dict[str, Any] = {}
    for one in given or ():
        name, sign, value = one.partition("=")
        if not sign or not name or not value or name in found:
            said = "is given twice" if name in found else "is not like stage.rule=0.9, =off or =en:0.9,zh:0.5"
            raise InputError(f"{one!r} {said}", "--threshold")
        if ":" not in value:
            found[name] = _threshold(value, one)
            continue
        pairs = [part.partition(":") for part in value.split(",")]
        found[name] = {language.strip(): _threshold(number, one) for language, _, number in pairs}
    return found or None


def _threshold(text: str, whole: str) -> float | None:
    if text.strip() == "off":
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number - number != 0:  # not finite
        raise InputError(f"{whole!r}: {text!r} is no number; 'off' switches a rule off", "--threshold")
    return number


def recipe_of(recipe: str | None, pipeline: str | None) -> dict[str, Any]:
    """The recipe that is meant: a file's text, a packaged name, or a pipeline.

    Raises:
        InputError: there is no such file, or not exactly one of both is given.
    """
    if (recipe is None) == (pipeline is None):
        raise InputError("give a recipe, or --pipeline instead of it")
    if recipe is None:
        return {"pipeline": pipeline}
    if recipe in packaged() and not Path(recipe).exists():
        return {"recipe": recipe}
    try:
        return {"recipe_yaml": Path(recipe).read_bytes().decode("utf-8")}
    except FileNotFoundError:
        known = ", ".join(packaged())
        raise InputError(f"no such recipe; give a file, or one of the packaged recipes: {known}", recipe) from None
    except OSError as error:
        raise InputError(f"cannot read the recipe: {error.strerror}", recipe) from None
    except UnicodeDecodeError:
        raise InputError("a recipe is text in UTF-8", recipe) from None


def packaged() -> list[str]:
    """Names of the packaged recipes."""
    found = (files("pipelines") / "recipes").iterdir()
    return sorted(place.name.removesuffix(".yaml") for place in found if place.name.endswith(".yaml"))


def job_options(
    recipe: str | None, pipeline: str | None, inputs: list[str] | None, thresholds: list[str] | None, **more: Any
) -> dict[str, Any]:
    """The options of a job as the client takes them."""
    if not inputs:
        raise InputError("give at least one --input SOURCE:PATH")
    return {
        **recipe_of(recipe, pipeline), "inputs": inputs, "thresholds": thresholds_of(thresholds),
        **{name: value for name, value in more.items() if value not in (None, [], ())},
    }  # fmt: skip


def counted(facts: Mapping[str, Any] | None) -> str:
    """Kept of read, where a run or version says so."""
    records = (facts or {}).get("records") or {}
    return f"{records['kept']:,} of {records['read']:,}" if "kept" in records and "read" in records else ""
