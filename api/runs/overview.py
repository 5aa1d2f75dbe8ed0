"""``/runs:by-day``, ``/runs:explain``, ``/storage``: all runs at a glance, and what a recipe would do."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection, func, select

from api.access.principals import Principal
from api.http.context import Ctx, Needs
from api.runs.requests import RecipeChoice, recipe_of
from api.settings import Settings
from api.store.tables import STATES, dataset_versions, datasets, runs
from pipelines.canonical import key_of
from pipelines.explained import ExplainedStage, explained
from pipelines.kinds import kind_of
from pipelines.recipe import build_recipe
from pipelines.yaml_source import YamlSource

router = APIRouter(tags=["runs"])
Reader = Annotated[Principal, Depends(Needs("runs:read"))]
DAY = 86_400_000
LARGEST = 10  # datasets that are named


class Day(BaseModel):
    """Runs that were submitted on a day, UTC, by the state that they are in now."""

    day: str
    states: dict[str, int]


class DayList(BaseModel):
    """Every day, the earliest first; the last one is today."""

    items: list[Day]


class DatasetBytes(BaseModel):
    """What a dataset takes."""

    name: str
    versions: int
    bytes: int


class Storage(BaseModel):
    """Bytes of published corpora, as their runs told them, and the disk of the runs."""

    versions: int
    bytes: int = Field(description="Of the corpora of all versions; ledgers and dropped texts are not in it.")
    largest: list[DatasetBytes] = Field(description="The ten largest datasets.")
    disk_free: int | None = Field(description="Of the disk that runs are written to; null for a remote one.")
    disk_total: int | None


class RuleExplained(BaseModel):
    """A rule of a recipe."""

    stage: str
    rule: str
    measure: str
    about: str = Field(description="What is measured.")
    unit: str = Field(description="`share` (0 to 1), `count`, `yes or no`, or empty for another number.")
    comparison: str = Field(description="A document is kept while `measure comparison threshold` holds.")
    parameter: str | None = Field(description="That sets the threshold in a recipe; null where it is fixed.")
    thresholds: dict[str, float | None] = Field(description="By language; `default` for the others, null for off.")
    defaults: dict[str, float | None] = Field(description="Of a recipe that does not name the parameter.")


class StageExplained(BaseModel):
    """A stage of a recipe."""

    stage: str
    about: str
    rules: list[RuleExplained]


class RecipeExplained(BaseModel):
    """A recipe: its stages in order, each with its rules."""

    name: str
    description: str
    kind: str
    languages: list[str] | None = Field(description="Languages that are kept; null for all.")
    recipe: dict[str, Any]
    stages: list[StageExplained]


@router.get("/runs:by-day", summary="Runs of each day by state")
def count_runs_by_day(context: Ctx, _: Reader, days: Annotated[int, Query(ge=1, le=366)] = 30) -> DayList:
    with context.database.read() as connection:
        today = context.database.now(connection) // DAY
        counts = _by_day(connection, (today - days + 1) * DAY)
    items = [Day(day=_day_text(day), states=counts.get(day, {})) for day in range(today - days + 1, today + 1)]
    return DayList(items=items)


def _by_day(connection: Connection, since: int) -> dict[int, dict[str, int]]:
    """Counts by day since the epoch and by state; answered from the index of state and time alone."""
    day = (runs.c.created_at - runs.c.created_at % DAY).label("day")
    here = runs.c.state.in_(STATES) & (runs.c.created_at >= since)
    query = select(day, runs.c.state, func.count()).where(here).group_by(day, runs.c.state)
    counts: dict[int, dict[str, int]] = {}
    for at, state, count in connection.execute(query):
        counts.setdefault(at // DAY, {})[state] = count
    return counts


def _day_text(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()


@router.get("/storage", summary="Bytes of published corpora, and the disk of the runs")
def get_storage(context: Ctx, _: Reader) -> Storage:
    """From what runs told when they were published; no folder is looked through."""
    size = func.coalesce(dataset_versions.c.facts["corpus_bytes"].as_integer(), 0)
    query = select(datasets.c.name, func.count(), func.sum(size)).join_from(dataset_versions, datasets)
    with context.database.read() as connection:
        rows = connection.execute(query.group_by(datasets.c.name)).all()
    found = [DatasetBytes(name=name, versions=count, bytes=int(total)) for name, count, total in rows]
    named = sorted(found, key=lambda one: (-one.bytes, one.name))
    free, total = _disk(context.settings)
    return Storage(
        versions=sum(one.versions for one in named), bytes=sum(one.bytes for one in named), largest=named[:LARGEST],
        disk_free=free, disk_total=total,
    )  # fmt: skip


def _disk(settings: Settings) -> tuple[int | None, int | None]:
    """Free and all bytes of the disk that runs are written to."""
    if "://" in settings.runs:
        return None, None
    place = Path(settings.runs)
    there = next((folder for folder in (place, *place.parents) if folder.is_dir()), None)
    if there is None:
        return None, None
    usage = shutil.disk_usage(there)
    return usage.free, usage.total


@router.post("/runs:explain", summary="What the rules of a recipe look at, and their thresholds")
def explain_recipe(choice: RecipeChoice, context: Ctx, _: Reader) -> RecipeExplained:
    with context.database.read() as connection:
        recipe = recipe_of(connection, context.settings, choice)
    stages = _explained(_Plain(recipe), str(context.settings.models_root))
    language: dict[str, Any] = next((one for one in recipe["stages"] if one["stage"] == "language"), {})
    return RecipeExplained(
        name=str(recipe["name"]), description=str(recipe.get("description", "")), kind=kind_of(recipe),
        languages=language.get("keep"), recipe=recipe,
        stages=[StageExplained(stage=stage.stage, about=stage.about,
                               rules=[RuleExplained(**vars(rule)) for rule in stage.rules]) for stage in stages],
    )  # fmt: skip


class _Plain:
    """A recipe that goes by what it says, so that it can be remembered."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data, self.key = data, key_of("recipe", data)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Plain) and self.key == other.key


@lru_cache(maxsize=32)
def _explained(plain: _Plain, models_root: str) -> tuple[ExplainedStage, ...]:
    return tuple(explained(build_recipe(YamlSource("recipe", plain.data, {}), Path(models_root))))
