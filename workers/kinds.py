"""What a run of the service can be: each kind is a function of its work and of how it tells its progress."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from curation.errors import RunError
from pipelines.canonical import digest_bytes, key_of
from pipelines.index import INDEX, Index, prepare_earlier, settings_of
from pipelines.inputs import Shard, find_shards
from pipelines.kinds import compares, comparison_of, comparison_section
from pipelines.locks import Busy
from pipelines.plan import Plan, make_plan
from pipelines.recipe import LoadedRecipe, build_recipe
from pipelines.reuse import reuse
from pipelines.roots import inside
from pipelines.storage import MANIFEST, Storage
from pipelines.yaml_source import YamlSource
from workers.driver import make_executor, run
from workers.progress import Progress

T = TypeVar("T")
BUSY_PAUSE = 1.0  # seconds between two looks at an index that another night is changing
Kind = Callable[[dict[str, Any], Progress], dict[str, Any]]


def curate(work: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Run a recipe over shards into the run's folder.

    Returns:
        What the service remembers: digest of the manifest, records by verdict, tokens, plan key.
    """
    request, output = work["request"], work["output"]
    shards = find_inputs(request, progress)
    if not shards:
        return {"nothing_new": True}
    plan = plan_of(work, shards, progress)
    if request.get("parent_output"):
        progress.log("info", f"results taken over from the parent: {reuse(request['parent_output'], output):,} files")
    progress.shards([shard.identity for shard in plan.shards])
    workers = work["workers"] or os.cpu_count() or 1
    run(plan, output, lambda: make_executor(work["backend"], workers, work["ray_address"]), progress)
    return facts_of(plan, output)


def plan_of(work: dict[str, Any], shards: list[Shard], progress: Progress) -> Plan:
    """The plan of a run; exactly the corpora that were there when it was submitted are earlier ones."""
    request = work["request"]
    named, nights = list(request.get("earlier", [])), list(request.get("after", []))
    if not compares(request["recipe"]):
        named = nights = []
    versions = {output: _version(output) for output in [*named, *nights]}
    earlier = [output for output in named if versions[output]]
    nights = [output for output in nights if versions[output]]
    if nights:
        settings = comparison_of(request["recipe"]) or {}
        earlier.append(_index_of_nights(request["index"], nights, settings, progress))
    loaded = loaded_recipe(request, work["models_root"], earlier)
    prepare_earlier(loaded)
    return make_plan(loaded, shards, [version for version in versions.values() if version], work["output"])


def loaded_recipe(request: dict[str, Any], models_root: str, earlier: list[str]) -> LoadedRecipe:
    """The recipe of a request, with the earlier corpora that the service names."""
    plain = dict(request["recipe"])
    if earlier:
        section = comparison_section(plain)
        plain[section] = {**(plain.get(section) or {}), "earlier": earlier}
    return build_recipe(YamlSource("recipe", plain, {}), Path(models_root))


def find_inputs(request: dict[str, Any], progress: Progress) -> list[Shard]:
    """The shards of a request, below their sources; of a night, those that no earlier night has read."""
    shards = find_shards(request["inputs"], on_progress=lambda *_: progress.check(), check=inside(request["roots"]))
    seen = {identity for output in request.get("after", []) for identity in _read_before(output)}
    fresh = [shard for shard in shards if shard.identity not in seen]
    if seen:
        progress.log("info", f"{len(shards):,} shards in the source, {len(fresh):,} of them new")
    return fresh


def _read_before(output: str) -> list[str]:
    """Identities of the shards that a finished run read."""
    try:
        told = json.loads(Storage(output).read("run.json"))
    except FileNotFoundError:
        raise RunError(f"the run before is gone ({output}/run.json), so what is new cannot be told") from None
    return [shard["identity"] for shard in told["shards"]]


def _version(output: str) -> str | None:
    """Which corpus a finished run published, the key of its publication; None where it holds no document."""
    manifest = Storage(output).manifest("")
    if manifest is None:
        raise RunError(f"the earlier corpus {output} is gone or incomplete, so what it holds cannot be told")
    return str(manifest["key"]) if manifest["totals"]["kept"] else None


def _index_of_nights(folder: str, nights: list[str], comparison: dict[str, Any], progress: Progress) -> str:
    """The index of what a schedule's nights published, brought up to date; one for each set of settings."""
    settings = settings_of(comparison)
    uri = f"{folder}/{key_of('nights', settings)[:16]}"
    there = Storage(uri).exists(INDEX)
    index = Index(uri) if there else _in_turn(partial(Index.create, uri, settings), progress)
    for output in nights:
        added = _in_turn(partial(index.add, output, "nights"), progress)
        if added:
            progress.log("info", f"{added:,} documents of an earlier night indexed")
        progress.check()
    return uri


def _in_turn(change: Callable[[], T], progress: Progress) -> T:
    """Change an index as soon as nobody else does."""
    while True:
        try:
            return change()
        except Busy as error:
            progress.log("info", f"waiting: {error}")
            time.sleep(BUSY_PAUSE)
            progress.check()


def facts_of(plan: Plan, output: str) -> dict[str, Any]:
    """What the service remembers of a finished run."""
    storage = Storage(output)
    manifest = storage.manifest("")
    if manifest is None:
        raise RunError(f"{output} has no complete manifest after the run; is somebody else deleting files there?")
    statistics = json.loads(storage.read("statistics.json"))
    corpus = {name: entry for name, entry in manifest["files"].items() if name.startswith("corpus/")}
    return {
        "manifest_digest": digest_bytes(storage.read(MANIFEST)),
        "plan_key": plan.publication_key(),
        "records": statistics["records"],
        "tokens": statistics["tokens"],
        "corpus_files": len(corpus),
        "corpus_bytes": sum(entry["bytes"] for entry in corpus.values()),
    }


def estimate(work: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Forecast of a run, from parts of some of its shards."""
    from workers.forecast import forecast

    return forecast(work, progress)


def training(work: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Train on published dataset versions, or ask models something: a trainer does both."""
    from workers.trainings import train

    return train(work, progress)


KINDS: dict[str, Kind] = {
    "curate": curate,
    "preview": curate,
    "estimate": estimate,
    "training": training,
    "evaluation": training,
}
