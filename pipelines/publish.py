"""Publication: what became of each shard, as corpus, ledger and dropped texts; the manifest comes last."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.batch import Batch
from pipelines.canonical import pretty_json
from pipelines.card import dataset_card
from pipelines.corpora import CORPORA
from pipelines.decisions import set_summary, shard_decisions
from pipelines.funnel import check_funnel
from pipelines.hygiene.decisions import COLUMNS
from pipelines.hygiene.decisions import STAGE as HYGIENE
from pipelines.inputs import Shard
from pipelines.ledger import DROPPED as DROPPED_VERDICT
from pipelines.ledger import DUPLICATE, KEPT, VERDICTS, Resolution, ledger_batch, ledger_schema
from pipelines.measures import Settled, replay
from pipelines.output import PUBLISHED
from pipelines.plan import Plan
from pipelines.recipe import Retention
from pipelines.statistics import Counts, amount, measure_counts, merge, no_counts, stage_counts
from pipelines.storage import MANIFEST, Storage, without_user
from pipelines.tables import DROPPED, ROW_GROUP_ROWS, TEXT_ROWS, TableWriter

PUBLICATION = "publication"


def begin_publication(plan: Plan, storage: Storage) -> None:
    """Make room: a manifest of another publication, and its marks of finished parts, go first.

    From here until ``finish_publication`` the folder holds no finished run, and says so by having no manifest.
    """
    key = plan.publication_key()
    manifest = storage.manifest("")
    if manifest is not None and manifest.get("key") == key:
        return
    storage.delete(MANIFEST)
    for name in storage.list(PUBLICATION):
        if not name.startswith(f"{PUBLICATION}/{key[:16]}/"):
            storage.delete(name)


def publish_shard(plan: Plan, shard: Shard, storage: Storage) -> None:
    """Write a shard's parts of corpus, ledger and dropped texts, and its statistics."""
    number = plan.shards.index(shard)
    mark = f"{PUBLICATION}/{plan.publication_key()[:16]}/part-{number:05d}"
    if storage.manifest(mark) is not None:
        return
    # The name says which publication it is of: what an attempt for another one writes late does no harm.
    names = {folder: f"{folder}/part-{number:05d}-{plan.publication_key()[:8]}.parquet" for folder in PUBLISHED}
    statistics = no_counts(_deciding(plan))
    decisions = shard_decisions(plan, storage, number)
    links, _ = plan.chain(shard)
    schema = ledger_schema(plan.stages, COLUMNS if plan.recipe.recipe.hygiene else ())
    rows = {}
    with ExitStack() as stack:
        writers = {}
        publisher = CORPORA[plan.recipe.recipe.kind]
        for folder, table_schema in (("corpus", publisher.schema), ("ledger", schema), ("dropped", DROPPED)):
            most = ROW_GROUP_ROWS if folder == "ledger" else TEXT_ROWS
            writers[folder] = TableWriter(stack.enter_context(storage.writer(names[folder])), table_schema, most)
        for count, history, batch in replay(storage, links):
            left = np.arange(count)[_left(count, history)]
            resolution = decisions.take(len(batch))
            ledger = ledger_batch(schema, shard.name, count, history, left, resolution)
            writers["ledger"].write(ledger)
            writers["corpus"].write(publisher.table(batch, resolution, shard.name))
            writers["dropped"].write(_dropped(ledger, history, left, batch, resolution, plan.recipe.recipe.retention))
            statistics = merge(statistics, _batch_statistics(ledger, history, left, resolution))
        decisions.check()
        check_funnel({**statistics, "stages_in_order": _deciding(plan)})
        for folder, writer in writers.items():
            writer.close()
            rows[folder] = writer.rows
    files = []
    for folder in PUBLISHED:
        if rows[folder] or folder == "ledger":  # which says even of an empty shard that nothing was in it
            files.append(names[folder])
        else:
            storage.delete(names[folder])
    storage.commit(mark, {"shard": shard.name, "rows": rows, "statistics": statistics}, files)


def finish_publication(plan: Plan, storage: Storage) -> dict[str, Any]:
    """Bring the parts together: statistics, card, and the manifest that makes the run finished."""
    key = plan.publication_key()
    statistics: Counts = {}
    files: dict[str, Any] = {}
    for number in range(len(plan.shards)):
        mark = storage.manifest(f"{PUBLICATION}/{key[:16]}/part-{number:05d}")
        assert mark is not None, "every part is committed before a publication is finished"
        statistics = merge(statistics, mark["statistics"])
        for name, entry in mark["files"].items():
            files[name] = {**entry, "rows": mark["rows"][name.split("/")[0]]}
    for folder in PUBLISHED:
        for name in storage.list(folder):
            if name not in files:
                storage.delete(name)
    statistics = {**statistics, "stages_in_order": _deciding(plan)}
    found = set_summary(plan, storage)
    if found is not None:
        statistics["hygiene"] = found
    storage.write("statistics.json", pretty_json(statistics))
    storage.write("run.json", pretty_json(_told(plan)))
    storage.write("README.md", dataset_card(plan, statistics).encode())
    for name in ("statistics.json", "run.json", "README.md"):
        files[name] = {"bytes": storage.size(name), "digest": storage.digest(name)}
    manifest = {"key": key, "totals": statistics.get("records", {}), "files": files}
    storage.write(MANIFEST, pretty_json(manifest))
    return manifest


def _deciding(plan: Plan) -> list[str]:
    """What drops documents, in order: the stages, then hygiene."""
    return [stage.name for stage in plan.stages] + ([HYGIENE] if plan.recipe.recipe.hygiene else [])


def _told(plan: Plan) -> dict[str, Any]:
    """What ``run.json`` says; keys to an object store that came in an address stay out of what is published."""
    plain = plan.plain()
    return {**plain, "shards": [{**shard, "uri": without_user(shard["uri"])} for shard in plain["shards"]]}


def finished(plan: Plan, storage: Storage) -> dict[str, Any] | None:
    """The manifest of this very plan's finished run, or None."""
    manifest = storage.manifest("")
    return manifest if manifest is not None and manifest.get("key") == plan.publication_key() else None


def read_statistics(storage: Storage) -> dict[str, Any]:
    """Statistics of a finished run."""
    statistics: dict[str, Any] = json.loads(storage.read("statistics.json"))
    return statistics


def _left(count: int, history: Sequence[Settled]) -> np.ndarray:
    left = np.zeros(count, bool)
    left[history[-1].rows[history[-1].survives]] = True
    return left


def _dropped(
    ledger: pa.Table, history: Sequence[Settled], left: np.ndarray, batch: Batch, resolution: Resolution,
    retention: Retention,
) -> pa.Table:  # fmt: skip
    """Texts of what is not kept, as they came to the stage that decided."""
    rows: list[np.ndarray] = []
    texts: list[pa.Array] = []
    for settled in history:
        gone = np.flatnonzero(~settled.survives)
        text = _text_before(settled)
        if text is not None and len(gone):
            rows.append(settled.rows[gone])
            texts.append(text.take(pa.array(gone)))
    compared = np.flatnonzero(~resolution.kept)
    if len(compared):
        rows.append(left[compared])
        texts.append(batch.text.take(pa.array(compared)))
    if not rows or retention.dropped_texts == "none":
        return DROPPED.empty_table()
    places = np.concatenate(rows)
    table = ledger.take(pa.array(places)).append_column("text", pa.chunked_array(texts).cast(pa.string()))
    table = table.select(DROPPED.names).take(pa.array(np.argsort(places, kind="stable")))
    if retention.dropped_texts == "sample":
        table = table.filter(_sampled(table.column("id"), retention.sample_share))
    return table


def _text_before(settled: Settled) -> pa.Array | None:
    """Texts as they came to a stage; what stages of entries make of them is the same in another spelling."""
    if settled.text is None and settled.stage.name in ("pair", "instruction"):
        return settled.measured.text
    return settled.text


def _sampled(ids: pa.ChunkedArray, share: float) -> pa.Array:
    """Choose by the id, which is a hash already: the same documents in every run."""
    limit = int(share * (1 << 32))
    return pa.array([int(id_[:8], 16) < limit for id_ in ids.to_pylist()])


def _batch_statistics(ledger: pa.Table, history: Sequence[Settled], left: np.ndarray, resolution: Resolution) -> Counts:
    tokens = np.asarray(pc.fill_null(ledger.column("extracted_tokens"), 0)).astype(np.int64)
    verdicts = np.asarray(ledger.column("verdict").to_pylist(), dtype=object)
    stages = {}
    for settled in history:
        errors = {row: error.error_class for row, error in settled.measured.errors.items()}
        stages[settled.stage.name] = stage_counts(settled.stage, settled.decision, errors, tokens[settled.rows])
    own = tokens[left]
    dropped = np.asarray(resolution.verdict == DROPPED_VERDICT, bool)
    if resolution.stage == HYGIENE:
        stages[HYGIENE] = _dropped_counts(resolution, dropped, own)
    deduplication = {
        "in": amount(~dropped, own),
        "kept": amount(resolution.kept, own),
        "exact": amount(resolution.gone_as(DUPLICATE, "exact"), own),
        "near": amount(resolution.gone_as(DUPLICATE, "near"), own),
    }
    kept_tokens = np.asarray(pc.fill_null(ledger.column("token_count"), 0)).astype(np.int64)
    groups = {kind: ledger.column(kind).to_pylist() for kind in ("language", "domain")}
    measures = {
        name: ledger.column(name).combine_chunks()
        for settled in history[1:]
        for name in settled.measured.columns
        if name in ledger.column_names
    }
    return {
        "records": {**{name: int((verdicts == name).sum()) for name in VERDICTS}, "read": len(verdicts)},
        "tokens": {"extracted": int(tokens.sum()), "published": int(kept_tokens[verdicts == KEPT].sum())},
        "stages": stages,
        "deduplication": deduplication,
        "languages": _by_group(groups["language"], verdicts, tokens),
        "domains": _by_group(groups["domain"], verdicts, tokens),
        "measures": measure_counts(measures, groups),
    }


def _dropped_counts(resolution: Resolution, dropped: np.ndarray, tokens: np.ndarray) -> Counts:
    """What hygiene took away, in the form of a stage; repetitions are counted as duplicates."""
    rules = sorted(set(resolution.rule[dropped].tolist()))
    by_rule = {rule: resolution.gone_as(DROPPED_VERDICT, rule) for rule in rules}
    return {
        "in": amount(np.ones(len(tokens), bool), tokens),
        "kept": amount(~dropped, tokens),
        "dropped": {rule: amount(chosen, tokens) for rule, chosen in by_rule.items()},
        "failing": {rule: int(chosen.sum()) for rule, chosen in by_rule.items()},
        "overlap": {},
        "quarantined": {},
    }


def _by_group(groups: list[str | None], verdicts: np.ndarray, tokens: np.ndarray) -> Counts:
    """Kept and not kept by group, of the documents that have one."""
    counts: Counts = {}
    names = np.asarray([group or "" for group in groups], dtype=str)
    for name in np.unique(names):
        if name:
            chosen = names == name
            counts[str(name)] = {v: amount(chosen & (verdicts == v), tokens) for v in VERDICTS}
    return counts
