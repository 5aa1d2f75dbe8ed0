"""The plan of a run: which results its recipe and shards ask for, each under the key of all it depends on.

A key is a hash of the shard's identity, the keys upstream, and the stage's fingerprint (name, version,
parameters, model digests, library facts).  "Done" means that a manifest lies under the key, so a changed
recipe, model, code version or input asks for exactly the results that depend on it, and nothing else.

Two kinds of change are told apart.  What a stage measures has one key; what its rules decide from it enters
only the keys downstream.  A new threshold therefore reuses the measured columns of its own stage.
"""

from __future__ import annotations

import platform
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from curation.entry_size import EntrySize, EntryTokens
from curation.pair_stages.canonical import INSTRUCTION, PAIR
from curation.size import Size, SizeParameters
from curation.stage import Parameters, Stage
from pipelines.canonical import key_of
from pipelines.deduplication.earlier import Earlier
from pipelines.hygiene.sketch import EntrySketch
from pipelines.index import open_earlier, remembered
from pipelines.inputs import Shard
from pipelines.recipe import Hygiene, LoadedRecipe, Recipe, rebuild_recipe
from pipelines.sketch import Sketch

# Raise when the layout or meaning of stored results changes.
LAYOUT_VERSION = 1
# Raise when the decisions of deduplication or hygiene, or the published files, change for the same inputs.
DEDUPLICATION_VERSION = 2
HYGIENE_VERSION = 1
PUBLICATION_VERSION = 4


@dataclass(frozen=True)
class Link:
    """One stage of one shard: what it measures is stored in ``folder``.

    Attributes:
        stage: the stage.
        key: of what it measures.
        folder: below the root of the run.
    """

    stage: Stage
    key: str
    folder: str


@dataclass(frozen=True)
class Plan:
    """What a run shall do; a pure function of recipe, models, code and shards.

    Attributes:
        recipe: as loaded.
        stages: those of the recipe, with the size after extraction and the sketch for deduplication at the end.
        shards: sorted by identity.
        earlier: corpora that the recipe remembers.
    """

    recipe: LoadedRecipe
    stages: tuple[Stage, ...]
    shards: tuple[Shard, ...]
    earlier: Earlier = field(default_factory=Earlier)

    @cached_property
    def fingerprints(self) -> list[tuple[Any, Any]]:
        """Of each stage: all that its measurements depend on, and all that its decisions depend on besides."""
        given = {stage.name: parameters for stage, parameters in self.recipe.entries}
        return [_fingerprints(stage, given.get(stage.name, stage.parameters)) for stage in self.stages]

    def chain(self, shard: Shard) -> tuple[list[Link], str]:
        """The stages of one shard with their keys, and the key of the state after the last."""
        if shard.identity not in self._chains:
            self._chains[shard.identity] = self._chain(shard)
        return self._chains[shard.identity]

    @cached_property
    def _chains(self) -> dict[str, tuple[list[Link], str]]:
        return {}

    def _chain(self, shard: Shard) -> tuple[list[Link], str]:
        state = key_of("layout", LAYOUT_VERSION, shard.identity)
        links = []
        for number, stage in enumerate(self.stages):
            measuring, deciding = self.fingerprints[number]
            key = key_of(state, measuring)
            folder = f"shards/{shard.identity}/{number:02d}-{stage.name}-{key[:16]}"
            links.append(Link(stage, key, folder))
            state = key_of(key, deciding)
        return links, state

    def deduplication_key(self) -> str:
        """Key of the comparison over all shards: deduplication, or hygiene."""
        return self._deduplication_key

    @cached_property
    def _deduplication_key(self) -> str:
        parameters = self.recipe.recipe.comparison
        # Where an index lies and how much memory there is do not alter what is decided.
        dumped = parameters.model_dump(mode="json", exclude={"earlier", "memory_mib"}) if parameters else None
        states = [self.chain(shard)[1] for shard in self.shards]
        decided = [dumped, self.earlier.plain(), states]
        if not isinstance(parameters, Hygiene):
            return key_of("deduplication", DEDUPLICATION_VERSION, *decided)
        by_name = parameters.held_out is not None and parameters.held_out.shards
        names = [shard.name for shard in self.shards] if by_name else None
        return key_of("hygiene", HYGIENE_VERSION, *decided, names)

    def publication_key(self) -> str:
        """Key of everything that a finished run shows, names and URIs of shards included."""
        return self._publication_key

    @cached_property
    def _publication_key(self) -> str:
        rest = {name: self.recipe.expanded[name] for name in ("name", "description", "retention", "limits")}
        shards = [shard.plain() for shard in self.shards]
        written = [versions()["pyarrow"], shards]
        return key_of("publication", PUBLICATION_VERSION, self.deduplication_key(), rest, written)

    def plain(self) -> dict[str, Any]:
        """``run.json``: what shall be done, from what, with what; no clock, no host."""
        return {
            "recipe": self.recipe.expanded,
            "stages": [_plain_stage(stage) for stage in self.stages],
            "shards": [shard.plain() for shard in self.shards],
            "earlier": self.earlier.datasets(),
            "deduplication_key": self.deduplication_key(),
            "publication_key": self.publication_key(),
            "versions": versions(),
        }


def _fingerprints(stage: Stage, given: Parameters) -> tuple[Any, Any]:
    dumped = _without_paths(given.model_dump(mode="python"))
    measuring = {name: value for name, value in dumped.items() if name not in stage.deciding}
    deciding = {name: value for name, value in dumped.items() if name in stage.deciding}
    return [stage.name, stage.version, measuring, stage.facts()], [deciding, stage.version]


def make_plan(
    recipe: LoadedRecipe, shards: Sequence[Shard], versions: Iterable[str] | None = None, output: str | None = None
) -> Plan:
    """Bring a recipe and its shards together.

    Args:
        versions: of the earlier corpora that count; None for all that the recipe's indexes hold.
        output: root of the run, whose own corpus is no earlier one.
    """
    read, first, *rest = recipe.stages
    if recipe.recipe.entries:
        stages = (read, first, EntrySize(SizeParameters()), *rest, _entry_sketch(recipe.recipe))
    else:
        stages = (read, first, Size(SizeParameters()), *rest, Sketch.of(recipe.recipe.deduplication))
    return Plan(recipe, stages, tuple(shards), open_earlier(recipe, versions, output))


def _entry_sketch(recipe: Recipe) -> Stage:
    if recipe.hygiene is None:
        return EntryTokens(SizeParameters())
    return EntrySketch.of(recipe.hygiene, PAIR if recipe.kind == "preferences" else INSTRUCTION)


def plan_for(recipe: LoadedRecipe, shards: Sequence[Shard], output: str) -> Plan:
    """The plan of a run that goes to a folder: it never counts its own corpus, or later ones, as earlier."""
    return make_plan(recipe, shards, remembered(recipe, output), output)


def rebuild_plan(run: dict[str, Any], models_root: Path) -> Plan:
    """The plan of a stored ``run.json``."""
    recipe = rebuild_recipe(run["recipe"], models_root)
    versions = [corpus["version"] for corpus in run["earlier"]]
    return make_plan(recipe, [Shard(**shard) for shard in run["shards"]], versions)


def _plain_stage(stage: Stage) -> dict[str, Any]:
    """A stage as a finished run remembers it: its rules can be asked long after its models are gone."""
    return {
        "stage": stage.name,
        "version": stage.version,
        "facts": stage.facts(),
        "columns": stage.schema.names,
        "rules": [asdict(rule) for rule in stage.rules()],
    }


def _without_paths(value: Any) -> Any:
    """Parameters with model paths left out: a model enters by its digest, wherever it lies."""
    if isinstance(value, PurePath):
        return None
    if isinstance(value, dict):
        return {str(key): _without_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_paths(item) for item in value]
    return value


def versions() -> dict[str, str]:
    """Versions of the libraries that took part."""
    names = ["gristmill", "pyarrow", "numpy", "numba", "resiliparse", "sentencepiece", "kenlm", "transformers", "torch"]
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, "python": platform.python_version(), "unicode": unicodedata.unidata_version}


def measured_schema(stages: Sequence[Stage]) -> pa.Schema:
    """All columns that the stages measure, in order."""
    return pa.schema([field for stage in stages for field in stage.schema])
