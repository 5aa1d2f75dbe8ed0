"""A recipe: what shall happen to the documents, in the words of the person who runs it.

A recipe is one page of YAML.  Everything it leaves out has a documented default; ``Recipe.expanded`` is the
whole of it, and what a run stores.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any, Literal, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from curation.errors import InputError
from curation.pair_sets.policies import Combine, ConflictPolicy, CyclePolicy
from curation.pair_sets.shares import as_share
from curation.pair_stages.canonical import INSTRUCTION, PAIR
from curation.read import Read, Reader, ReadParameters
from curation.read_entries import EntryParameters, ReadEntries
from curation.stage import Parameters, Stage
from pipelines.kinds import comparison_section
from pipelines.registry import STAGES, stage_class, suggestion
from pipelines.yaml_source import YamlSource, read_yaml

PACKAGED = ("crawl", "fineweb", "ccnet", "preferences", "instructions")
FIRST_STAGES = {"corpus": "extraction", "preferences": "pair", "instructions": "instruction"}
FINEST_THRESHOLD = 10**6
MODELS_VARIABLE = "GRISTMILL_MODELS"


class Section(BaseModel):
    """A part of a recipe; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class Priority(Section):
    """One key of the order in which near-duplicates are kept."""

    column: str
    order: Literal["ascending", "descending"] = "descending"


class Deduplication(Section):
    """How duplicates are found and which of them is kept.

    Attributes:
        definition: name and version of the similarity.
        threshold: a document goes when its exact Jaccard similarity with a kept one is above this;
            a decimal string, so that it is exact.
        recall: least probability that a pair exactly at the threshold becomes a candidate.
        scheme: permutation scheme of datasketch 2.
        seed: seed of the permutations.
        priority: which of two near-duplicates is kept: columns of the ledger in order of weight; the
            document id decides last, so the order is total.
        earlier: corpora published before, as indexes or as finished runs; their documents come first, are never
            removed, and are named as witnesses.  Relative paths are those of models.
        memory_mib: memory that a worker may use for the data of a step; it decides into how many parts the work
            is cut, never what comes out.
    """

    definition: Literal["word-5gram/1"] = "word-5gram/1"
    threshold: str = "0.8"
    recall: float = Field(default=0.998, gt=0.5, lt=1.0)
    scheme: Literal["affine32", "affine64"] = "affine32"
    seed: int = Field(default=1, ge=0, lt=1 << 32)
    priority: tuple[Priority, ...] = (Priority(column="token_count"),)
    earlier: tuple[str, ...] = ()
    memory_mib: int = Field(default=1024, ge=16, le=1 << 20)

    @field_validator("threshold", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return repr(value) if isinstance(value, float) else value

    @field_validator("threshold")
    @classmethod
    def _is_similarity(cls, value: str) -> str:
        try:
            fraction = Fraction(Decimal(value))
        except (InvalidOperation, ValueError, OverflowError):
            raise ValueError(f"a decimal number such as 0.8 is expected, not {value!r}") from None
        if not Fraction(1, 10) <= fraction < 1:
            raise ValueError("a similarity threshold lies in [0.1, 1)")
        if fraction.denominator > FINEST_THRESHOLD:
            raise ValueError("a similarity threshold has at most six decimals")
        return value


class HeldOut(Section):
    """Which entries are held out from training.  A prompt, its near-duplicates included, is never on both sides.

    Attributes:
        share: of all entries; whole clusters of prompts are chosen by a seeded hash of their text, so that a prompt
            stays on its side in every run.
        seed: another one gives another split.
        by_language: meet the share in every language; the side of a prompt then depends on the rest of the set.
        shards: patterns of file names that are held out, in the place of ``share``: for sets that come split.  An
            entry of another file whose prompt is held out is dropped.
    """

    share: str | None = "0.05"
    seed: int = Field(default=1, ge=0, lt=1 << 32)
    by_language: bool = False
    shards: tuple[str, ...] = ()

    @field_validator("share", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return repr(value) if isinstance(value, float) else value

    @field_validator("share")
    @classmethod
    def _is_share(cls, value: str | None) -> str | None:
        return None if value is None else _share(value)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.shards:
            if self.share is not None and "share" in self.model_fields_set:
                raise ValueError("give 'share' or 'shards', not both")
            object.__setattr__(self, "share", None)
        elif self.share is None:
            raise ValueError("give 'share' or 'shards'")
        return self


class Hygiene(Deduplication):
    """How entries are compared with one another: by their prompts first, then by their answers.

    Entries belong together if their prompts do: equal ones, and chains of near-duplicates.  All else is decided among
    entries that belong together.

    Attributes:
        definition, threshold, recall, scheme, seed, priority, memory_mib: as in ``deduplication``; of prompts and of
            answers.
        earlier: entries and corpora published before.  What repeats or contradicts an earlier entry goes; whose
            prompt resembles a text of an earlier corpus is listed.
        min_answer_words: answers of fewer words are the same only if they are equal, and so are their prompts: "Yes"
            and "No" contradict each other only under one and the same question.
        duplicates: whether an entry goes that repeats another on every side.
        conflicts: of pairs of the same two answers with the labels swapped: who stays.
        margins: what ``keep-margin`` compares, the sum of the margins of one direction or the largest.
        cycles: of pairs that contradict each other along three answers or more: who stays.
        overlap: ``drop`` takes entries away whose prompt resembles a text of an earlier corpus.
        length_balance: bounds between which the share of pairs whose longer answer was chosen is brought, in each
            language; null for no balance.
        held_out: null for no split.
    """

    min_answer_words: int = Field(default=20, ge=0, le=1 << 20)
    duplicates: Literal["drop", "keep"] = "drop"
    conflicts: ConflictPolicy = "majority"
    margins: Combine = "sum"
    cycles: CyclePolicy = "keep-margin"
    overlap: Literal["list", "drop"] = "list"
    length_balance: tuple[str, str] | None = None
    held_out: HeldOut | None = None

    @field_validator("length_balance", mode="before")
    @classmethod
    def _as_texts(cls, value: Any) -> Any:
        return tuple(repr(v) if isinstance(v, float) else v for v in value) if isinstance(value, list) else value

    @field_validator("length_balance")
    @classmethod
    def _holds_one_half(cls, value: tuple[str, str] | None) -> tuple[str, str] | None:
        if value is not None and not Fraction(_share(value[0])) <= Fraction(1, 2) <= Fraction(_share(value[1])):
            raise ValueError("one half lies between the two bounds, such as [0.45, 0.55]")
        return value


def _share(value: str) -> str:
    try:
        as_share(value, "a share")
    except InputError as error:
        raise ValueError(error.message) from None
    return value


class Retention(Section):
    """What is kept of the texts that do not enter the corpus.

    Attributes:
        dropped_texts: ``full``, ``sample`` (by hash of the id, so the same documents every time) or ``none``.
        sample_share: share of documents whose text is kept under ``sample``.
    """

    dropped_texts: Literal["full", "sample", "none"] = "full"
    sample_share: float = Field(default=0.01, gt=0, le=1)


class Limits(Section):
    """When a run must fail instead of publishing a corpus with holes.

    Attributes:
        max_quarantined_share: of all records read; null for no limit.
    """

    max_quarantined_share: float | None = Field(default=0.25, ge=0, le=1)


class Recipe(Section):
    """A whole recipe.  ``stages`` holds built stages' parameters by name, in order.

    ``entries`` makes it one of preference pairs or instructions; ``read`` and ``deduplication`` speak of pages then and
    are not asked, ``hygiene`` is.
    """

    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    read: ReadParameters = ReadParameters()
    entries: EntryParameters | None = None
    stages: tuple[dict[str, Any], ...]
    deduplication: Deduplication | None = Deduplication()
    hygiene: Hygiene | None = None
    retention: Retention = Retention()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _the_text_comes_first(self) -> Self:
        names = [stage.get("stage") for stage in self.stages]
        if names[:1] != [FIRST_STAGES[self.kind]]:
            what = {"corpus": "document", "preferences": "pair", "instructions": "instruction"}[self.kind]
            raise ValueError(f"the first stage must be {FIRST_STAGES[self.kind]!r}: it gives every {what} its text")
        return self

    @model_validator(mode="after")
    def _entries_are_compared_as_sets(self) -> Self:
        if self.entries:
            if "deduplication" in self.model_fields_set and self.deduplication is not None:
                raise ValueError("entries are compared by 'hygiene', not by 'deduplication'; leave it away")
            object.__setattr__(self, "deduplication", None)
            if "hygiene" not in self.model_fields_set:
                object.__setattr__(self, "hygiene", Hygiene())
        elif self.hygiene is not None:
            raise ValueError("'hygiene' compares entries; pages are compared by 'deduplication'")
        return self

    @property
    def comparison(self) -> Deduplication | None:
        """How documents, or entries, are compared with one another; None where they are not."""
        return self.hygiene if self.entries else self.deduplication

    @property
    def kind(self) -> str:
        """Of what it makes: ``corpus``, ``preferences`` or ``instructions``."""
        return self.entries.kind if self.entries else "corpus"

    @property
    def reader(self) -> Reader:
        """The stage before the first."""
        if self.entries is None:
            return Read(self.read)
        identified = any(stage.get("stage") == "language" and "sides" in stage for stage in self.stages)
        return ReadEntries(self.entries, identified)


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with its stages built.

    Attributes:
        recipe: as given.
        stages: ``read`` first, then those of the recipe.
        given: the parameters of each stage with model paths as the recipe gives them.
        source: the YAML it came from, for messages and for ``explain``.
        models_root: folder against which relative model paths were resolved.
    """

    recipe: Recipe
    stages: tuple[Stage, ...]
    given: tuple[Parameters, ...]
    source: YamlSource
    models_root: Path

    @property
    def entries(self) -> list[tuple[Stage, Parameters]]:
        """Each stage with its parameters as given."""
        return list(zip(self.stages, self.given, strict=True))

    @property
    def expanded(self) -> dict[str, Any]:
        """The recipe with every default written out, as plain data."""
        plain = self.recipe.model_dump(mode="json")
        for section in ("read",) if self.recipe.entries else ("entries", "hygiene"):
            del plain[section]
        plain["stages"] = [
            {"stage": stage.name, **parameters.model_dump(mode="json")} for stage, parameters in self.entries[1:]
        ]
        return plain


def load_recipe(source: str | Path, models_root: str | Path | None = None) -> LoadedRecipe:
    """Read a recipe file, or a packaged recipe by its name.

    Args:
        source: a path, or one of ``PACKAGED``.
        models_root: folder for relative model paths; default the environment's ``GRISTMILL_MODELS``, then
            the recipe's own folder (for packaged recipes: ``models`` in the working folder).

    Raises:
        InputError: with line and column, for everything that is wrong in it.
    """
    text, name, folder = _recipe_text(str(source))
    yaml_source = read_yaml(text, name)
    root = Path(models_root or os.environ.get(MODELS_VARIABLE) or folder)
    return build_recipe(yaml_source, root)


def build_recipe(source: YamlSource, models_root: Path) -> LoadedRecipe:
    """Check parsed YAML against the recipe's types and build its stages."""
    if not isinstance(source.data, dict):
        raise InputError("a recipe is a mapping with 'name' and 'stages'", source.where(()))
    try:
        recipe = Recipe.model_validate(source.data)
    except ValidationError as error:
        raise _first_error(error, source, (), Recipe) from None
    built = [_build_stage(entry, ("stages", index), source, models_root) for index, entry in enumerate(recipe.stages)]
    stages = [stage for stage, _ in built]
    names = [stage.name for stage in stages]
    for index, stage_name in enumerate(names):
        if stage_name in names[:index]:
            raise InputError(f"the stage {stage_name!r} stands here twice", source.where(("stages", index)))
        _check_sides(recipe, built[index][1], ("stages", index), source)
    _check_columns(recipe, stages, source)
    reader = recipe.reader
    given = (reader.parameters, *(parameters for _, parameters in built))
    return LoadedRecipe(recipe, (reader, *stages), given, source, models_root)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a recipe.

    Attributes:
        path: of the value, as keys and positions from the top.
        message: what is wrong and what to do.
    """

    path: tuple[str | int, ...]
    message: str


def recipe_faults(data: Any, models_root: Path, confined: bool = False) -> list[Fault]:
    """Everything that is wrong in a recipe given as plain data; empty if it can be built.

    Args:
        confined: whether models must lie below ``models_root``, and earlier corpora may not be named by path: for
            recipes of strangers.
    """
    if not isinstance(data, dict):
        return [Fault((), "a recipe is a mapping with 'name' and 'stages'")]
    source = YamlSource("recipe", data, {})
    faults = _model_faults(Recipe, data, ())
    for section in ("deduplication", "hygiene") if confined else ():
        if isinstance(data.get(section), dict) and data[section].get("earlier"):
            faults.append(Fault((section, "earlier"), "name earlier datasets in the request, not paths here"))
    entries = data.get("stages")
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        faults += _stage_faults(entry, ("stages", index), source, models_root, confined)
    if not faults:
        try:
            build_recipe(source, models_root)
        except InputError as error:
            faults.append(Fault((), error.message))
    return faults


def _stage_faults(
    entry: Any, path: tuple[str | int, ...], source: YamlSource, root: Path, confined: bool
) -> list[Fault]:
    if not isinstance(entry, dict):
        return []  # said by the recipe's own types
    try:
        if not isinstance(entry.get("stage"), str):
            return [Fault((*path, "stage"), "each entry of 'stages' needs a 'stage' with its name")]
        cls = _class_of(entry, "recipe")
    except InputError as error:
        return [Fault((*path, "stage"), error.message)]
    given = {name: value for name, value in entry.items() if name != "stage"}
    faults = _model_faults(cls.Parameters, given, path)
    if faults:
        return faults
    parameters = cls.Parameters.model_validate(given)
    if confined:
        faults = [Fault((*path, *at), message) for at, message in _paths_outside(parameters.model_dump(), root)]
    if not faults:
        try:
            cls(parameters.resolved(root))
        except InputError as error:
            faults.append(Fault(path, _without_root(error.message, root)))
    return faults


def _model_faults(model: type[BaseModel], data: Mapping[str, Any], prefix: tuple[str | int, ...]) -> list[Fault]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        return [Fault(*_said(found, prefix, model)) for found in error.errors()]
    return []


def _paths_outside(value: Any, root: Path, at: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], str]]:
    """Model paths that lead out of the folder of models, links followed."""
    if isinstance(value, Mapping):
        return [fault for key, item in value.items() for fault in _paths_outside(item, root, (*at, str(key)))]
    if isinstance(value, (list, tuple)):
        return [fault for index, item in enumerate(value) for fault in _paths_outside(item, root, (*at, index))]
    if not isinstance(value, PurePath):
        return []
    if "\x00" in str(value):
        return [(at, "a path holds no NUL")]
    inside = os.path.realpath(root / value).startswith(os.path.realpath(root).rstrip("/") + "/")
    if value.is_absolute() or ".." in value.parts or not inside:
        return [(at, "it lies below the folder of models; give its path relative to that")]
    return []


def _without_root(message: str, root: Path) -> str:
    """A message that does not say where the folder of models lies."""
    return message.replace(f"{root.absolute()}/", "").replace(f"{root}/", "")


def rebuild_recipe(expanded: Mapping[str, Any], models_root: Path) -> LoadedRecipe:
    """The recipe that a run stored, built again (by a worker, or to read a finished run)."""
    return build_recipe(YamlSource("run.json", dict(expanded), {}), models_root)


def _recipe_text(source: str) -> tuple[bytes, str, Path]:
    if source in PACKAGED and not os.path.isfile(source):
        resource = files("pipelines") / "recipes" / f"{source}.yaml"
        return resource.read_bytes(), f"{source}.yaml", Path("models")
    path = Path(source)
    try:
        return path.read_bytes(), str(path), path.parent
    except FileNotFoundError:
        known = ", ".join(PACKAGED)
        raise InputError(f"no such recipe; give a file, or one of the packaged recipes: {known}", source) from None
    except OSError as error:
        raise InputError(f"cannot read the recipe: {error.strerror}", source) from None


def _build_stage(
    entry: Mapping[str, Any], path: tuple[str | int, ...], source: YamlSource, root: Path
) -> tuple[Stage, Parameters]:
    if "stage" not in entry:
        raise InputError("each entry of 'stages' needs a 'stage' with its name", source.where(path))
    if not isinstance(entry["stage"], str):
        raise InputError("the name of a stage is a word", source.where((*path, "stage")))
    cls = _class_of(entry, source.where((*path, "stage")))
    given = {name: value for name, value in entry.items() if name != "stage"}
    try:
        parameters = cls.Parameters.model_validate(given)
    except ValidationError as error:
        raise _first_error(error, source, path, cls.Parameters) from None
    try:
        return cls(parameters.resolved(root)), parameters
    except InputError as error:
        raise InputError(error.message, error.where or source.where(path)) from None


def _class_of(entry: Mapping[str, Any], where: str) -> type[Stage]:
    """The class of a stage; with ``sides``, one that runs it on the sides of pairs or instructions."""
    cls = stage_class(entry["stage"], where)
    if "sides" not in entry or "sides" in cls.Parameters.model_fields:
        return cls
    from curation.pair_stages.sided import sided

    return sided(cls)


def _first_error(
    error: ValidationError, source: YamlSource, prefix: tuple[str | int, ...], model: type[BaseModel]
) -> InputError:
    """The first thing that is wrong, with its place; how many more there are."""
    errors = error.errors()
    path, message = _said(errors[0], prefix, model)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InputError(message + more, source.where(path))


def _said(
    found: Mapping[str, Any], prefix: tuple[str | int, ...], model: type[BaseModel]
) -> tuple[tuple[str | int, ...], str]:
    """Place and message of one error of pydantic's."""
    location = tuple(part for part in found["loc"] if not str(part).startswith(("function-", "dict[")))
    if found["type"] == "extra_forbidden":
        known = list(_fields_at(model, location[:-1]))
        message = f"unknown name {location[-1]!r}{suggestion(str(location[-1]), known)}"
    elif found["type"] == "missing":
        message = f"{location[-1]!r} is missing"
    else:
        message = ".".join(str(part) for part in location) + ": " if location else ""
        message += found["msg"].removeprefix("Value error, ")
    return (*prefix, *location), message


def _fields_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    for part in location:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return list(model.model_fields)


def _check_sides(recipe: Recipe, parameters: Parameters, path: tuple[str | int, ...], source: YamlSource) -> None:
    """A stage runs on sides that the recipe's entries have; pages have none."""
    sides = getattr(parameters, "sides", None)
    if sides is None:
        return
    there = {"preferences": PAIR, "instructions": INSTRUCTION}.get(recipe.kind, ())
    for side in sides:
        if side not in there:
            has = f"those of {recipe.kind} are {', '.join(there)}" if there else "pages have none"
            raise InputError(f"there is no side {side!r}: {has}", source.where((*path, "sides")))


def _check_columns(recipe: Recipe, stages: list[Stage], source: YamlSource) -> None:
    """No two stages may measure one column, and priorities must name columns that will exist and have an order."""
    owners: dict[str, str] = {}
    reader = recipe.reader
    schemas = [stage.schema for stage in (reader, *stages)]
    for index, (stage, schema) in enumerate(zip((reader, *stages), schemas, strict=True)):
        for column in schema.names:
            if column in owners:
                message = f"stages {owners[column]!r} and {stage.name!r} both measure {column!r}"
                raise InputError(message, source.where(("stages", index - 1)))
            owners[column] = stage.name
    section = comparison_section(recipe.model_dump(include={"entries"}))
    for number, priority in enumerate(recipe.comparison.priority if recipe.comparison else ()):
        fault = _priority_fault(priority.column, schemas)
        if fault:
            raise InputError(fault, source.where((section, "priority", number, "column")))


def _priority_fault(column: str, schemas: list[pa.Schema]) -> str | None:
    """Why documents cannot be ordered by a column, None if they can."""
    from curation.size import Size, SizeParameters  # compiles; only recipes that deduplicate need it

    always = pa.schema([*Size(SizeParameters()).schema, pa.field("token_count", pa.int32())])
    owner = next((schema for schema in (*schemas, always) if column in schema.names), None)
    if owner is None:
        return f"unknown column {column!r}{suggestion(column, [name for s in (*schemas, always) for name in s.names])}"
    if _has_order(owner.field(column).type):
        return None
    fit = [field.name for schema in (owner, always) for field in schema if _has_order(field.type)]
    found = owner.field(column).type
    return f"{column!r} is of type {found}; a priority is a number or boolean, such as {', '.join(fit)}"


def _has_order(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_))


__all__ = ["PACKAGED", "STAGES", "LoadedRecipe", "Recipe", "build_recipe", "load_recipe", "rebuild_recipe"]
