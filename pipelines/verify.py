"""Verification: the ledger, the manifest and the files must tell one story, to the record and to the byte."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from curation.duplicates.arrays import run_starts
from curation.errors import InputError, RunError
from curation.pair_stages.canonical import parse
from curation.pair_stages.sides import text_of
from curation.sources.formats import detect_format, line_packing
from pipelines.funnel import check_funnel
from pipelines.inputs import Shard
from pipelines.kinds import comparison_of
from pipelines.ledger import DUPLICATE, KEPT, VERDICTS, totals
from pipelines.look import FinishedRun
from pipelines.output import ABOUT, FOLDERS, MARK, PUBLISHED
from pipelines.storage import MANIFEST
from pipelines.verify_set import check_set

BATCH_PAIRS = 4096


def verify_run(directory: str, deep: bool = True, on_progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Check a finished run.

    Args:
        deep: also recompute every file's digest and every duplicate's similarity.

    Returns:
        What was checked, one line each.

    Raises:
        InputError: where there is no finished run.
        RunError: at the first difference, saying what differs.
    """
    run = FinishedRun(directory)
    checks = [_check_files, _check_ledger, _check_places, _check_corpus, _check_witnesses]
    if run.run["recipe"].get("hygiene"):
        checks.append(check_set)
    if deep:
        checks.append(_check_similarities)
    lines = []
    for number, check in enumerate(checks):
        if on_progress:
            on_progress(number, len(checks))
        lines.append(check(run, deep))
    return lines


def _check_files(run: FinishedRun, deep: bool) -> str:
    assert run.manifest is not None
    files = run.manifest["files"]
    for name, entry in sorted(files.items()):
        if deep and run.storage.digest(name) != entry["digest"]:
            raise RunError(
                f"{name}: its digest is not the one in manifest.json; the file was changed.  Delete it and run the "
                "same command again: it is written anew"
            )
        if name.endswith(".parquet") and _parquet_rows(run, name) != entry["rows"]:
            raise RunError(f"{name} holds {_parquet_rows(run, name)} rows, manifest.json says {entry['rows']}")
    present = {n for folder in PUBLISHED for n in run.storage.list(folder)} | _beside(run)
    strangers = sorted(present - set(files))
    if strangers:
        raise RunError(f"{strangers[0]}: not in manifest.json ({len(strangers)} such files)")
    if run.manifest["key"] != run.run["publication_key"]:
        raise RunError("manifest.json is of another run than run.json: their publication keys differ")
    said, counted = run.manifest["totals"], run.statistics["records"]
    if said != counted:
        raise RunError(f"totals are {said} in manifest.json, {counted} in statistics.json")
    missing = sorted({*ABOUT} - set(files))
    if missing:
        raise RunError(f"{missing[0]} is not in manifest.json")
    return f"{len(files)} files have the sizes{', digests' if deep else ''} and rows of manifest.json"


def _parquet_rows(run: FinishedRun, name: str) -> int:
    with run.storage.open(name) as stream:
        return int(pq.read_metadata(stream).num_rows)


def _beside(run: FinishedRun) -> set[str]:
    """Files and folders of the root that no run writes; what is left over for later runs counts as its own."""
    infos = run.storage.filesystem.get_file_info(pafs.FileSelector(run.storage.root))
    return {info.base_name for info in infos} - {MANIFEST, MARK, "index", *ABOUT, *FOLDERS}


def _check_ledger(run: FinishedRun, deep: bool) -> str:
    assert run.manifest is not None
    ledger = run.table("ledger").to_table(columns=["id", "verdict", "stage", "rule"])
    counted = totals(ledger)
    if sum(counted.values()) != ledger.num_rows:
        raise RunError("the ledger holds verdicts other than " + ", ".join(VERDICTS))
    if pc.count_distinct(ledger.column("id")).as_py() != ledger.num_rows:
        raise RunError("the ledger holds an id twice")
    said = {name: run.manifest["totals"].get(name, 0) for name in VERDICTS}
    if counted != said:
        raise RunError(f"verdicts in the ledger {counted} differ from manifest.json {said}")
    if run.statistics["records"]["read"] != ledger.num_rows:
        raise RunError(f"{run.statistics['records']['read']} records were read, the ledger has {ledger.num_rows} rows")
    check_funnel(run.statistics)
    _check_reasons(ledger, run.statistics)
    words = ", ".join(f"{name} {count:,}" for name, count in counted.items())
    return f"{ledger.num_rows:,} records in = {words}; every stage adds up"


def _check_reasons(ledger: pa.Table, statistics: dict[str, Any]) -> None:
    """Counts of each reason in the ledger must be those of the statistics."""
    grouped = ledger.group_by(["verdict", "stage", "rule"]).aggregate([("id", "count")]).to_pylist()
    for row in grouped:
        if row["verdict"] == KEPT:
            continue
        if row["verdict"] == DUPLICATE:
            said = statistics["deduplication"][row["rule"]]["documents"]
        else:
            kind = "dropped" if row["verdict"] == "dropped" else "quarantined"
            said = statistics["stages"][row["stage"]][kind].get(row["rule"], {"documents": 0})["documents"]
        if said != row["id_count"]:
            raise RunError(f"{row['stage']}.{row['rule']}: {row['id_count']} in the ledger, {said} in statistics.json")


def _check_places(run: FinishedRun, deep: bool) -> str:
    """Every stored byte of a shard belongs to exactly one record; of compressed JSON Lines, every byte of the text."""
    table = run.table("ledger").to_table(columns=["shard", "offset", "length", "inner_offset"])
    shards = {shard["name"]: Shard(**shard) for shard in run.run["shards"]}
    names = table.column("shard").to_pylist()
    order = np.lexsort((table.column("inner_offset").to_numpy(), table.column("offset").to_numpy(), names))
    places = table.take(pa.array(order))
    formats = {name: detect_format(shard.uri) for name, shard in shards.items()}
    missing = {name for name, format_ in formats.items() if format_ != "parquet"}
    stored = text = 0
    for name, rows in _by_shard(places):
        missing.discard(name)
        kind, _, packed = formats[name].partition(".")
        if kind == "parquet":
            continue
        offsets, lengths = rows
        distinct = run_starts(offsets)
        offsets, lengths = offsets[distinct], lengths[distinct]
        broken = np.flatnonzero(offsets[:-1] + lengths[:-1] != offsets[1:])
        if offsets[0] != 0 or len(broken):
            at = 0 if offsets[0] else int(offsets[broken[0]])
            raise RunError(f"{name}: the records do not cover the file without gap or overlap, near byte {at}")
        end = int(offsets[-1] + lengths[-1])
        if kind == "jsonl" and _counts_text(shards[name], packed, end):
            text += 1
        elif end != shards[name].size:
            raise RunError(f"{name}: records end at byte {end}, the file at {shards[name].size}")
        else:
            stored += 1
    if missing:
        raise RunError(f"{min(missing)}: the ledger has no record of this shard ({len(missing)} such shards)")
    of_text = f", in {text} the decompressed text without gap or overlap" if text else ""
    return f"in {stored} of {len(shards)} shards the records cover every byte exactly once{of_text} (Parquet has rows)"


def _counts_text(shard: Shard, packed: str, end: int) -> bool:
    """Whether the offsets of JSON Lines are those of a decompressed text, whose length is not known.

    The reader goes by the first bytes.  They are asked only where the name says that the offsets are stored bytes
    and the records do not end where the file does.  If they cannot be had any more, records that go on behind the
    end of the file tell of a text, while those that end before it are a gap.
    """
    if packed or end == shard.size:
        return bool(packed)
    try:
        with shard.open() as stream:
            return bool(line_packing(stream.read(4), packed))
    except (OSError, InputError):
        return end > shard.size


def _by_shard(places: pa.Table) -> list[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    names = np.asarray(places.column("shard").to_pylist(), dtype=str)
    offsets, lengths = places.column("offset").to_numpy(), places.column("length").to_numpy()
    starts = np.append(run_starts(names), len(names))
    return [(str(names[a]), (offsets[a:b], lengths[a:b])) for a, b in pairwise(starts) if b > a]


def _check_corpus(run: FinishedRun, deep: bool) -> str:
    kept = run.table("ledger").to_table(columns=["id"], filter=pc.field("verdict") == KEPT).column("id")
    table = run.table("corpus")
    name = run.corpus().id_name if run.corpus().names else "id"
    corpus = table.to_table(columns=[name]).column(name)
    if sorted(kept.to_pylist()) != sorted(corpus.to_pylist()):
        raise RunError("the ids in corpus/ are not those that the ledger calls kept")
    return f"corpus/ holds exactly the {len(corpus):,} documents that the ledger calls kept"


def _check_witnesses(run: FinishedRun, deep: bool) -> str:
    ledger = run.table("ledger")
    columns = ["id", "witness", "witness_dataset", "shared_shingles", "all_shingles"]
    rows = ledger.to_table(columns=columns, filter=pc.field("verdict") == DUPLICATE)
    kept = ledger.to_table(columns=["id"], filter=pc.field("verdict") == KEPT).column("id")
    own = rows.filter(rows.column("witness_dataset").is_null())
    orphans = own.filter(pc.invert(pc.is_in(own.column("witness"), value_set=kept.combine_chunks())))
    if orphans.num_rows:
        raise RunError(
            f"{orphans.column('id')[0].as_py()}: its witness is not kept ({orphans.num_rows} such documents)"
        )
    threshold = _threshold(run)
    if threshold is not None:
        shared = rows.column("shared_shingles").to_numpy().astype(np.int64)
        union = rows.column("all_shingles").to_numpy().astype(np.int64)
        below = np.flatnonzero(shared * threshold.denominator <= union * threshold.numerator)
        if len(below):
            id_ = rows.column("id")[int(below[0])].as_py()
            raise RunError(f"{id_}: its similarity is not above {threshold} ({len(below)} such documents)")
    earlier = rows.num_rows - own.num_rows
    where = f", {earlier:,} of them in an earlier corpus" if earlier else ""
    return f"each of {rows.num_rows:,} duplicates names a kept witness above the threshold{where}"


def _check_similarities(run: FinishedRun, deep: bool) -> str:
    """Compute every similarity again, from the published texts."""
    columns = ["id", "witness", "witness_dataset", "shared_shingles", "all_shingles"]
    rows = run.table("ledger").to_table(columns=columns, filter=pc.field("verdict") == DUPLICATE)
    proven = 0
    for start in range(0, rows.num_rows, BATCH_PAIRS):
        part = rows.slice(start, BATCH_PAIRS).to_pylist()
        texts, witnesses = run.texts([row["id"] for row in part]), _witness_texts(run, part)
        part = [row for row in part if row["id"] in texts and _witness(row) in witnesses]
        shared, union = _similarities(
            run.kind, [texts[row["id"]] for row in part], [witnesses[_witness(row)] for row in part]
        )
        for row, common, both in zip(part, shared, union, strict=True):
            if (row["shared_shingles"], row["all_shingles"]) != (common, both):
                said = f"{row['shared_shingles']}/{row['all_shingles']}"
                raise RunError(f"{row['id']}: similarity with its witness is {common}/{both}, the ledger says {said}")
        proven += len(part)
    rest = rows.num_rows - proven
    unproven = f"; {rest:,} have no text any more (retention, or an earlier corpus that is gone)" if rest else ""
    return f"{proven:,} similarities computed again from the texts and equal{unproven}"


def _similarities(kind: str, texts: list[str], witnesses: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Intersection and union of the shingles of texts; of entries those of the side that is least alike."""
    from curation.duplicates.find import similarities

    if kind == "corpus":
        return similarities(pa.array(texts, pa.large_string()), pa.array(witnesses, pa.large_string()))
    from pipelines.hygiene.judge import least_similar

    both = [[sides_by_text(text) for text in column] for column in (texts, witnesses)]
    sides = sorted(both[0][0]) if texts else []
    found = [similarities(*(pa.array([row[side] for row in column], pa.large_string()) for column in both))
             for side in sorted(sides, key=("prompt", "chosen", "rejected", "response").index)]  # fmt: skip
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    shared, union = (np.stack(columns, axis=1) for columns in zip(*found, strict=True))
    return least_similar(shared, union)


def sides_by_text(text: str) -> dict[str, str]:
    """The sides of an entry, each as one text."""
    return {side: text_of(turns) for side, turns in parse(text).items()}


def _witness(row: dict[str, Any]) -> tuple[str | None, str]:
    return row["witness_dataset"], row["witness"]


def _witness_texts(run: FinishedRun, rows: list[dict[str, Any]]) -> dict[tuple[str | None, str], str]:
    """Texts of witnesses, those of earlier corpora included as far as these are there."""
    found: dict[tuple[str | None, str], str] = {}
    for dataset in sorted({row["witness_dataset"] or "" for row in rows}):
        ids = sorted({row["witness"] for row in rows if (row["witness_dataset"] or "") == dataset})
        corpus = run.earlier(dataset) if dataset else run
        if corpus is None:
            continue
        texts = corpus.texts(ids)
        if dataset and len(texts) < len(ids):
            missing = next(id_ for id_ in ids if id_ not in texts)
            raise RunError(f"{missing} is named as a witness, but the corpus {dataset} does not hold it")
        found |= {(dataset or None, id_): text for id_, text in texts.items()}
    return found


def _threshold(run: FinishedRun) -> Fraction | None:
    comparison = comparison_of(run.run["recipe"])
    return Fraction(comparison["threshold"]) if comparison else None
