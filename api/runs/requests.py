"""What is asked for becomes what a driver is told: checked, resolved, and complete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator
from sqlalchemy import Connection, select

from api.datasets.store import other_kind
from api.http.models import Body, Name, Text, check_texts, example
from api.problems import Fault, Problem, pointer
from api.settings import Settings
from api.sources.roots import address
from api.store.tables import dataset_versions, datasets, pipelines, revisions, sources
from curation.errors import InputError
from pipelines.kinds import compares, comparison_section, kind_of, with_sample_share
from pipelines.recipe import PACKAGED, build_recipe, recipe_faults
from pipelines.thresholds import with_thresholds
from pipelines.yaml_source import YamlSource, read_yaml

Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._:-]{0,49}$")]


class InputPath(Body):
    """A file, folder or pattern below a source."""

    source: Name
    path: str = Field(default="", max_length=2000, examples=["CC-MAIN-2026-47/*.warc.gz"])


class PipelineRef(Body):
    """A pipeline, and which revision; the latest where none is named."""

    name: Name
    revision: int | None = Field(default=None, ge=1, lt=1 << 31)


class DatasetRef(Body):
    """A dataset, and which version; the latest where none is named."""

    name: Name
    version: int | None = Field(default=None, ge=1, lt=1 << 31)


class RecipeChoice(Body):
    """Exactly one of a recipe, its YAML, or a pipeline; and what to change in it."""

    model_config = example(recipe="crawl", thresholds={"language.language-score": 0.8})

    recipe: Literal["crawl", "fineweb", "ccnet", "preferences", "instructions"] | dict[str, Any] | None = Field(
        default=None, description="A packaged recipe by its name, or a recipe as JSON."
    )
    recipe_yaml: str | None = Field(default=None, max_length=1 << 16, description="A recipe as YAML.")
    pipeline: PipelineRef | None = None
    thresholds: dict[str, float | dict[str, float | None] | None] = Field(
        default={}, description="Thresholds to change, by `stage.rule`; null switches a rule off.", max_length=200
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> RecipeChoice:
        if sum(choice is not None for choice in (self.recipe, self.recipe_yaml, self.pipeline)) != 1:
            raise ValueError("give exactly one of 'recipe', 'recipe_yaml' and 'pipeline'")
        return self


class RunRequest(RecipeChoice):
    """A job."""

    model_config = example(
        recipe="crawl",
        inputs=[{"source": "crawl", "path": "CC-MAIN-2026-47/*.warc.gz"}],
        publish="web",
        tags=["first-look"],
    )

    kind: Literal["curate", "preview"] = "curate"
    name: Text | None = Field(default=None, min_length=1, max_length=200)
    inputs: list[InputPath] = Field(min_length=1, max_length=1000)
    sample_share: float | None = Field(default=None, gt=0, le=1, description="Of a preview; default 0.01.")
    earlier: list[DatasetRef] = Field(default=[], max_length=100, description="Corpora whose documents come first.")
    publish: Name | None = Field(default=None, description="Dataset that gets a version of it when it succeeds.")
    priority: int = Field(default=0, ge=-100, le=100)
    tags: list[Tag] = Field(default=[], max_length=20)
    note: Text = Field(default="", max_length=10_000)

    @model_validator(mode="after")
    def _only_previews_sample(self) -> RunRequest:
        if self.sample_share is not None and self.kind != "preview":
            raise ValueError("'sample_share' belongs to a preview; a recipe has read.sample_share")
        if self.kind == "preview" and self.publish:
            raise ValueError("a preview is not published")
        return self


class Resolved(dict[str, Any]):
    """What the driver is told, with the pipeline it came from."""

    pipeline_id: str | None = None
    revision: int | None = None


def resolve(connection: Connection, settings: Settings, request: RunRequest) -> Resolved:
    """Check everything and turn names into places.

    Raises:
        Problem: with every fault that was found, each with its JSON pointer.
    """
    faults: list[Fault] = []
    resolved = Resolved(display=[entry.model_dump() for entry in request.inputs])
    recipe = _recipe(connection, settings, request, resolved, faults)
    resolved["inputs"], resolved["roots"] = _inputs(connection, request.inputs, faults)
    resolved["earlier"] = _earlier(connection, request.earlier, faults)
    if request.earlier and isinstance(recipe, dict) and not compares(recipe):
        message = f"the recipe has no {comparison_section(recipe)!r}, which would compare with earlier datasets"
        faults.append(Fault(pointer="/earlier", code="earlier", message=message))
    if request.publish and isinstance(recipe, dict) and not faults:
        other = other_kind(connection, request.publish, kind_of(recipe))
        if other is not None:
            message = f"there is a dataset of this name, of kind {other}; choose another name"
            faults.append(Fault(pointer="/publish", code="kind", message=message))
    if faults:
        raise Problem("invalid", f"{len(faults)} thing(s) are wrong", faults)
    assert isinstance(recipe, dict)
    if request.kind == "preview":
        recipe = with_sample_share(recipe, request.sample_share or 0.01)
    resolved["recipe"] = recipe
    if request.publish:
        resolved["publish"] = request.publish
    return resolved


def _recipe(
    connection: Connection, settings: Settings, choice: RecipeChoice, resolved: Resolved, faults: list[Fault]
) -> Any:
    at, data = "/recipe", choice.recipe
    try:
        if isinstance(data, str):
            assert data in PACKAGED
            data = packaged(data)
        elif choice.recipe_yaml is not None:
            at, data = "/recipe_yaml", _of_yaml(choice.recipe_yaml)
        elif choice.pipeline is not None:
            at, data = "/pipeline", _of_pipeline(connection, choice.pipeline, resolved)
    except InputError as error:
        faults.append(Fault(pointer=at, code="recipe", message=str(error)))
        return None
    return checked_recipe(settings, data, choice.thresholds, at, faults)


def checked_recipe(settings: Settings, data: Any, thresholds: Mapping[str, Any], at: str, faults: list[Fault]) -> Any:
    """A recipe with its thresholds changed; what is wrong in it is added to ``faults``."""
    before = len(faults)
    add_recipe_faults(settings, data, at, faults)
    if len(faults) > before or not thresholds:
        return data
    try:
        data = with_thresholds(build_recipe(YamlSource("recipe", data, {}), settings.models_root), data, thresholds)
    except InputError as error:
        faults.append(Fault(pointer="/thresholds", code="threshold", message=error.message))
        return data
    add_recipe_faults(settings, data, "/thresholds", faults, exactly=True)
    return data


def add_recipe_faults(settings: Settings, data: Any, at: str, faults: list[Fault], exactly: bool = False) -> None:
    """Everything wrong in a recipe of a stranger.

    Args:
        exactly: whether all of it is the fault of what stands at ``at`` itself.
    """
    for fault in recipe_faults(data, Path(settings.models_root), confined=True):
        place = at if exactly else at + pointer(fault.path)
        message = fault.message if not exactly else f"{'.'.join(map(str, fault.path))}: {fault.message}"
        faults.append(Fault(pointer=place, code="recipe", message=message))


def packaged(name: str) -> dict[str, Any]:
    """A packaged recipe as plain data."""
    from importlib.resources import files

    text = (files("pipelines") / "recipes" / f"{name}.yaml").read_bytes()
    data: dict[str, Any] = read_yaml(text, f"{name}.yaml").data
    return data


def recipe_of(connection: Connection, settings: Settings, choice: RecipeChoice) -> dict[str, Any]:
    """The recipe that was chosen, checked.

    Raises:
        Problem: with every fault of it.
    """
    faults: list[Fault] = []
    recipe = _recipe(connection, settings, choice, Resolved(), faults)
    if faults:
        raise Problem("invalid", f"{len(faults)} thing(s) are wrong", faults)
    assert isinstance(recipe, dict)
    return recipe


def _of_yaml(text: str) -> Any:
    data = read_yaml(text.encode("utf-8", "surrogatepass"), "recipe").data
    try:
        check_texts(data)  # YAML has escapes of its own
    except ValueError as error:
        raise InputError(str(error)) from None
    return data


def _of_pipeline(connection: Connection, ref: PipelineRef, resolved: Resolved) -> Any:
    query = (
        select(revisions.c.recipe, revisions.c.number, revisions.c.pipeline_id)
        .join(pipelines, pipelines.c.id == revisions.c.pipeline_id)
        .where(pipelines.c.name == ref.name)
        .where(revisions.c.number == (pipelines.c.latest if ref.revision is None else ref.revision))
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise InputError("there is no such pipeline, or it has no such revision")
    resolved.pipeline_id, resolved.revision = row.pipeline_id, row.number
    return row.recipe


def _inputs(connection: Connection, wanted: list[InputPath], faults: list[Fault]) -> tuple[list[str], list[str]]:
    roots = dict(connection.execute(select(sources.c.name, sources.c.root)).tuples().all())
    places = []
    for index, entry in enumerate(wanted):
        if entry.source not in roots:
            message = "there is no source of this name; an administrator declares sources"
            faults.append(Fault(pointer=f"/inputs/{index}/source", code="source", message=message))
            continue
        try:
            places.append(address(roots[entry.source], entry.path))
        except InputError as error:
            faults.append(Fault(pointer=f"/inputs/{index}/path", code="path", message=error.message))
    return places, sorted({roots[entry.source] for entry in wanted if entry.source in roots})


def _earlier(connection: Connection, wanted: list[DatasetRef], faults: list[Fault]) -> list[str]:
    found = []
    for index, ref in enumerate(wanted):
        query = (
            select(dataset_versions.c.location)
            .join(datasets, datasets.c.id == dataset_versions.c.dataset_id)
            .where(datasets.c.name == ref.name)
            .where(dataset_versions.c.number == (datasets.c.latest if ref.version is None else ref.version))
        )
        location = connection.execute(query).scalar_one_or_none()
        if location is None:
            message = "there is no such dataset, or it has no such version"
            faults.append(Fault(pointer=f"/earlier/{index}", code="dataset", message=message))
        else:
            found.append(location)
    return found


def forked(settings: Settings, parent: Any, thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """The request of a run like another, with other thresholds; what did not change is not computed again."""
    faults: list[Fault] = []
    recipe = checked_recipe(settings, parent["request"]["recipe"], thresholds, "", faults)
    if faults:
        raise Problem("invalid", f"{len(faults)} thing(s) are wrong", faults)
    request = {name: value for name, value in parent["request"].items() if name not in ("publish", "index")}
    return {**request, "recipe": recipe, "parent_output": parent["output"]}
