"""Other thresholds on a finished run of 10⁷ records: seconds and greatest memory, as JSON.

    python benchmarks/what_if.py [--records 10000000] [--keep DIR]

The run is made up: measures fall on both sides of the thresholds of a recipe with Gopher's and FineWeb's rules, and
two fifths of the documents that are left are copies or near-duplicates, or have them.  Its ledger and the evidence of
its deduplication, a million proven pairs, are written as a run writes them.  Each question is asked in a process of
its own, three times: from the second time on the pages are warm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

RECIPE = """name: made-up
stages:
  - stage: extraction
  - stage: language
    keep: [en, zh]
  - stage: gopher-repetition
  - stage: gopher-quality
  - stage: fineweb
  - stage: personal-data
deduplication:
  threshold: 0.8
"""
FAILING = 0.01  # of the documents that a rule looks at
LANGUAGES = ["en", "zh"]
PART = 1_000_000
QUESTIONS: dict[str, dict[str, Any]] = {
    "tighter": {
        "gopher-quality.few-alphabetic-words": {"default": 0.85, "zh": 0.8},
        "fineweb.short-lines": 0.64,
        "gopher-repetition.top-2gram-chars": 0.19,
    },
    "looser": {"fineweb.short-lines": 0.8, "gopher-quality.few-words": 45},
    "off": {"fineweb.short-lines": None, "gopher-quality.few-stop-words": 3},
}


def identities(rng: np.random.Generator, count: int) -> pa.Array:
    """Random ids, as text."""
    text = rng.bytes(16 * count).hex().encode()
    offsets = (32 * np.arange(count + 1)).astype(np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def measures(rng: np.random.Generator, stage: Any, count: int) -> dict[str, pa.Array]:
    """What a stage might have measured of documents: by each rule, one in a hundred fails."""
    columns = {}
    for rule in stage.rules():
        if rule.measure in columns:
            continue
        type_ = stage.schema.field(rule.measure).type
        limits = [rule.threshold_of(language) or 0.0 for language in LANGUAGES]
        limit = max(limits) if rule.comparison in (">=", ">") else min(limits)
        failing = rng.random(count) < FAILING
        distance = rng.random(count) * (limit or 1.0)
        below = failing if rule.comparison in (">=", ">") else ~failing
        values = np.where(below, limit * 0.999 - distance * 0.5, limit * 1.001 + distance)
        if rule.comparison == "==":
            values = np.where(failing, 0.0, limit)
        if pa.types.is_boolean(type_):
            values = np.where(failing, rule.comparison == "<", rule.comparison != "<")
        columns[rule.measure] = pa.array(values).cast(type_, safe=False)
    if "language" in stage.schema.names:
        columns["language"] = pa.array(LANGUAGES).take(pa.array((rng.random(count) < 0.4).astype(np.int64)))
    return columns


@dataclass(frozen=True)
class Duplicates:
    """What was decided about the documents that are left of a part; ``keepers`` and ``gone`` are pairs of their places.

    Attributes:
        table: what the ledger says of each.
        kept: which are.
        exact: which pairs are copies.
    """

    table: pa.Table
    kept: np.ndarray
    keepers: np.ndarray
    gone: np.ndarray
    exact: np.ndarray


def duplicates(rng: np.random.Generator, ids: pa.Array) -> Duplicates:
    """Pairs among documents that are left."""
    count = len(ids)
    pairs = count // 5
    order = rng.permutation(count)
    gone = order[pairs : 2 * pairs]
    keepers = order[np.arange(pairs) % (pairs - pairs // 8)]  # one in seven has two
    exact = rng.random(pairs) < 0.3
    kept = np.ones(count, bool)
    kept[gone] = False
    place = np.full(count, -1, np.int64)
    place[gone] = keepers
    witness = ids.take(pa.array(place, mask=place < 0))
    place[keepers] = keepers
    head = np.where(place < 0, np.arange(count), place)
    size = np.bincount(head, minlength=count)[head].astype(np.int32)
    copies = np.ones(count, np.int32)
    np.add.at(copies, keepers[exact], 1)
    copies[gone[exact]] = copies[keepers[exact]]
    rule = np.full(count, 2)
    rule[gone] = np.where(exact, 0, 1)
    shared = np.where(rule == 0, 100, 90).astype(np.int32)
    tokens = rng.integers(50, 3000, count).astype(np.int32)
    tokens[gone] = np.minimum(tokens[gone], tokens[keepers])
    table = pa.table(
        {
            "token_count": tokens,
            "rule": pa.array(["exact", "near", None]).take(pa.array(rule)),
            "witness": witness,
            "cluster": ids.take(pa.array(place, mask=place < 0)),
            "cluster_size": size,
            "copies": copies,
            "shared_shingles": pa.array(shared, mask=kept),
            "all_shingles": pa.array(np.full(count, 100, np.int32), mask=kept),
            "similarity": pa.array(shared / 100, mask=kept),
        }
    )
    return Duplicates(table, kept, keepers, gone, exact)


def part(
    rng: np.random.Generator, stages: Sequence[Any], schema: pa.Schema, name: str, count: int
) -> tuple[pa.Table, Duplicates]:
    """One part of a ledger, and the duplicates in it."""
    from curation.stage import decide
    from pipelines.measures import null_fill

    ids = identities(rng, count)
    said = np.full((3, count), None, object)
    failing = np.full(count, None, object)
    value, limit = np.full(count, np.nan), np.full(count, np.nan)
    columns: dict[str, Any] = {"id": ids, "shard": pa.array([name]).take(pa.array(np.zeros(count, np.int64)))}
    columns["url"] = pa.array([f"https://example.org/{n}" for n in range(1000)]).take(pa.array(np.arange(count) % 1000))
    rows = np.arange(count)
    for stage in stages[:-1]:
        found = measures(rng, stage, len(rows))
        columns |= {column: null_fill(array, rows, count) for column, array in found.items()}
        rules = stage.rules()
        if rules:
            told = {"language": columns["language"].take(pa.array(rows))} if "language" in columns else {}
            decision = decide(rules, told | found, len(rows))
            lost = decision.first >= 0
            said[0, rows[lost]], said[1, rows[lost]] = "dropped", stage.name
            said[2, rows[lost]] = np.array([rule.name for rule in rules], object)[decision.first[lost]]
            whole = np.array([f"{stage.name}.{rule.name}" for rule in rules], object)
            failing[rows[lost]] = [whole[column].tolist() for column in decision.failing[:, lost].T]
            value[rows[lost]], limit[rows[lost]] = decision.value[lost], decision.threshold[lost]
            rows = rows[~lost]
    twins = duplicates(rng, ids.take(pa.array(rows)))
    table, kept = twins.table, twins.kept
    said[0, rows] = np.where(kept, "kept", "duplicate")
    said[1, rows[~kept]] = "deduplication"
    said[2, rows] = table.column("rule").to_numpy(zero_copy_only=False)
    columns |= {
        column: null_fill(table.column(column).combine_chunks(), rows, count)
        for column in table.column_names
        if column != "rule"
    }
    columns |= {column: pa.array(said[at], pa.string()) for at, column in enumerate(("verdict", "stage", "rule"))}
    columns |= {"value": pa.array(value, from_pandas=True), "threshold": pa.array(limit, from_pandas=True)}
    columns["failing_rules"] = pa.array(failing, pa.list_(pa.string()))
    columns["extracted_tokens"] = pa.array(rng.integers(60, 4000, count).astype(np.int32))
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema), twins


def write_evidence(storage: Any, key: str, shards: Sequence[Duplicates]) -> int:
    """What a deduplication leaves of these duplicates; returns the number of pairs."""
    from pipelines.deduplication.choose import DOCUMENT, PAIR, PART_RECORDS
    from pipelines.deduplication.records import StepWriter, records

    parts = []
    for shard, found in enumerate(shards):
        rows = np.unique(np.concatenate([found.keepers, found.gone]))
        tokens = np.asarray(found.table.column("token_count"))[rows]
        keeper = np.full(len(found.kept), -1)
        keeper[found.gone] = found.keepers
        copies = np.zeros(len(found.kept), bool)
        copies[found.gone[found.exact]] = True
        parts.append(np.stack([np.full(len(rows), shard), rows, keeper[rows], copies[rows], -tokens.astype(np.int64)]))
    shard, row, keeper, copy, order = np.concatenate(parts, axis=1)
    sorted_ = np.lexsort((keeper >= 0, order))
    shard, row, keeper, copy = (column[sorted_] for column in (shard, row, keeper, copy))
    width = 1 + max(len(found.kept) for found in shards)
    place = np.full(len(shards) * width, -1)
    place[shard * width + row] = np.arange(len(row))
    head = np.where(keeper < 0, np.arange(len(row)), place[shard * width + keeper])
    own = np.where(copy > 0, head, np.arange(len(row)))
    near = np.flatnonzero((keeper >= 0) & (copy == 0))
    # Two of one keeper resemble each other as well.
    by_head = near[np.argsort(head[near], kind="stable")]
    both = head[by_head[1:]] == head[by_head[:-1]]
    left = np.concatenate([head[near], by_head[:-1][both]])
    right = np.concatenate([near, by_head[1:][both]])
    written = np.lexsort((left, right))
    writer = StepWriter(storage, f"deduplication/{key}")
    documents = records(DOCUMENT, shard=shard, row=row, origin=0, head=own, family=0, component=head)
    pairs = records(PAIR, left=left[written], right=right[written], shared=90, union=100)
    for name, dtype, whole in (("documents", DOCUMENT, documents), ("pairs", PAIR, pairs)):
        writer.write(name, dtype, (whole[at : at + PART_RECORDS] for at in range(0, len(whole), PART_RECORDS)))
    writer.commit(documents=[len(found.kept) for found in shards])
    return len(left)


def make_run(folder: Path, records: int, rows: int) -> None:
    """A finished run that never was."""
    from pipelines.canonical import pretty_json
    from pipelines.ledger import ledger_schema, totals
    from pipelines.plan import make_plan
    from pipelines.recipe import load_recipe
    from pipelines.storage import Storage
    from pipelines.tables import TableWriter

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    plan = make_plan(load_recipe(str(folder / "recipe.yaml")), [])
    storage, schema = Storage(str(folder)), ledger_schema(plan.stages)
    rng, names = np.random.default_rng(1), []
    counted = dict.fromkeys(("kept", "dropped", "duplicate", "quarantined"), 0)
    statistics: dict[str, Any] = {"languages": {}, "domains": {}, "tokens": {"published": 0}}
    shards: list[Duplicates] = []
    for number, count in enumerate(_sizes(records, rows)):
        table, found = part(rng, plan.stages, schema, f"shard-{number:05d}", count)
        shards.append(replace(found, table=found.table.select(["token_count"])))
        counted = {verdict: counted[verdict] + found for verdict, found in totals(table).items()}
        _add(statistics, table)
        names.append(f"ledger/part-{number:05d}-00000000.parquet")
        with storage.writer(names[-1]) as stream:
            writer = TableWriter(stream, schema)
            for start in range(0, count, 4096):
                writer.write(table.slice(start, 4096))
            writer.close()
    print(
        json.dumps({"records": records, "pairs": write_evidence(storage, plan.deduplication_key(), shards)}), flush=True
    )
    storage.write("statistics.json", pretty_json({**statistics, "records": {**counted, "read": records}}))
    storage.write("run.json", pretty_json(plan.plain()))
    storage.commit("", {"key": "made-up", "totals": counted}, ["run.json", "statistics.json", *names])


def _sizes(records: int, rows: int) -> Iterator[int]:
    for first in range(0, records, rows):
        yield min(rows, records - first)


def _add(statistics: dict[str, Any], table: pa.Table) -> None:
    import pyarrow.compute as pc

    kept = table.filter(pc.equal(table.column("verdict"), "kept"))
    statistics["tokens"]["published"] += pc.sum(kept.column("token_count")).as_py()
    for entry in pc.value_counts(kept.column("language")).to_pylist():
        found = statistics["languages"].setdefault(entry["values"], {"kept": {"documents": 0}})
        found["kept"]["documents"] += entry["counts"]


def ask(folder: str, name: str) -> None:
    """In a process of its own: one question, three times."""
    began = time.perf_counter()
    from pipelines.look import FinishedRun
    from pipelines.what_if.answer import what_if

    loaded = time.perf_counter() - began
    seconds, processor = [], []
    for _ in range(3):
        began, used = time.perf_counter(), time.process_time()
        answer = what_if(FinishedRun(folder), QUESTIONS[name])
        seconds.append(round(time.perf_counter() - began, 2))
        processor.append(round(time.process_time() - used, 2))
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmHWM"))
    found = {key: answer.plain()[key] for key in ("records", "kept", "exact", "undetermined")}
    said = {"seconds": seconds, "processor_seconds": processor, "import_seconds": round(loaded, 2), "peak_mib": peak}
    print(json.dumps({"question": name, **said, **found}))


def main() -> None:
    """Make the run, ask every question."""
    if sys.argv[1:2] == ["--ask"]:
        return ask(sys.argv[2], sys.argv[3])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="folder for the run, to ask it again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch) / "run"
        if not (folder / "manifest.json").exists():
            make_run(folder, given.records, PART)
        for name in QUESTIONS:
            subprocess.run([sys.executable, __file__, "--ask", str(folder), name], check=True)
    return None


if __name__ == "__main__":
    main()
