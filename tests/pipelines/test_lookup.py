"""What a lookup says of a run is what its ledger says."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import lookup as lookups
from pipelines.browse import Wanted, breakdown, documents, nearest, neighbours
from pipelines.compare import compare
from pipelines.duplicates import duplicates
from pipelines.look import FinishedRun
from pipelines.lookup import ROOM, Lookup, kept_in, tabled
from tests.pages.finished import Milled, milled

Row = dict[str, Any]
WORDS = ("verdict", "stage", "rule", "language", "domain", "host", "cluster")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Milled:
    return milled(tmp_path_factory.mktemp("lookup") / "home")


def opened(data: Milled, run: str, folder: Path | None = None) -> FinishedRun:
    """A run, with its lookup in a folder or in memory."""
    return FinishedRun(str(data.mill.folder / "runs" / run), folder and folder / f"{run}.arrow")


def plain(run: FinishedRun) -> list[Row]:
    """Its ledger, in order."""
    return [row for name in run.ledger().names for row in pq.read_table(run.storage.path(name)).to_pylist()]


@pytest.mark.parametrize("name", ["first", "second", "pairs", "asks"])
@pytest.mark.parametrize("mapped", [True, False])
def test_every_column_is_the_ledgers(data: Milled, tmp_path: Path, name: str, mapped: bool) -> None:
    run = opened(data, getattr(data, name), tmp_path if mapped else None)
    rows, lookup = plain(run), run.lookup
    assert lookup.count == len(rows) == run.statistics["records"]["read"]
    assert [lookup.id_of(row) for row in range(lookup.count)] == [row["id"] for row in rows]
    for number, row in enumerate(rows):
        assert lookup.row(row["id"]) == number and lookup.row_at(lookup.place(number)) == number
        assert lookup.fates[lookup.codes("fate")[number]] == tuple(row[word] or "" for word in WORDS[:3])
        for word in WORDS[3:]:
            code = lookup.codes(word)[number]
            assert (None if code < 0 else lookup.words(word)[int(code)].as_py()) == row[word]
        value, size, tokens, witness = (
            lookup.numbers(one)[number] for one in ("similarity", "cluster_size", "tokens", "witness")
        )
        assert np.isnan(value) if row["similarity"] is None else value == row["similarity"]
        assert (size, tokens) == (row["cluster_size"] or 0, row["extracted_tokens"] or 0)
        assert (lookup.id_of(witness) if witness >= 0 else None) == row["witness"]
        assert run.ledger_shards[lookup.place(number)[0]]["name"] == row["shard"]
    assert lookup.row("0" * 32) is None and lookup.row("x") is None


def test_texts_are_found_where_it_says(data: Milled, tmp_path: Path) -> None:
    for name in ("first", "pairs", "asks"):
        run, scanned = opened(data, getattr(data, name), tmp_path), opened(data, getattr(data, name))
        ids = [row["id"] for row in plain(run)]
        assert run.texts(ids) == scanned.texts(ids) and run.texts(ids)
        assert all(run.find(id_) == scanned.find(id_) for id_ in ids)
        assert run.find("0" * 32) is None and run.texts(["0" * 32]) == {}


def filters(rows: list[Row], chance: random.Random) -> dict[str, Any]:
    """Some words of some record, and at times a range."""
    row = chance.choice(rows)
    found = {word: row[word] for word in chance.sample(WORDS, chance.randrange(3)) if row[word] is not None}
    if chance.random() < 0.4:
        values = sorted(row["word_count"] for row in chance.choices(rows, k=2) if row["word_count"] is not None)
        found |= {"measure": "word_count", "low": values[0] if values else None, "high": values[-1] if values else 5}
    return found


def fits(row: Row, wanted: dict[str, Any]) -> bool:
    """Whether a record is wanted, spelt out."""
    if any(row[word] != wanted[word] for word in WORDS if word in wanted):
        return False
    if "measure" not in wanted:
        return True
    value, low = row["word_count"], wanted["low"]
    return value is not None and (low is None or value >= low) and value <= wanted["high"]


def test_documents_and_neighbours_are_those_of_the_ledger(data: Milled, tmp_path: Path) -> None:
    run, chance = opened(data, data.first, tmp_path), random.Random(1)
    rows = plain(run)
    for _ in range(60):
        asked = filters(rows, chance)
        expected = [row for row in rows if fits(row, asked)]
        found, after, pages = [], None, 0
        while pages == 0 or after is not None:
            some, after = documents(run, Wanted(**asked), after, 4)
            found += some
            pages += 1
        assert [one["id"] for one in found] == [row["id"] for row in expected], asked
        assert all(value == row[name] for one, row in zip(found, expected, strict=True) for name, value in one.items())
        middle = chance.choice(rows)
        place = rows.index(middle)
        before = [row["id"] for row in rows[:place] if fits(row, asked)]
        behind = [row["id"] for row in rows[place + 1 :] if fits(row, asked)]
        sides = before[-1] if before else None, behind[0] if behind else None
        assert neighbours(run, Wanted(**asked), middle["id"]) == sides


def test_who_has_no_language_is_und(data: Milled, tmp_path: Path) -> None:
    run = opened(data, data.pairs, tmp_path)
    rows = plain(run)
    expected = [row["id"] for row in rows if row["language"] in (None, "und")]
    assert [one["id"] for one in documents(run, Wanted(language="und"), None, 100)[0]] == expected


@pytest.mark.parametrize("by", ["language", "domain", "host"])
def test_groups_are_counted_as_one_would(data: Milled, tmp_path: Path, by: str) -> None:
    run = opened(data, data.first, tmp_path)
    rows = plain(run)
    nobody = "und" if by == "language" else ""
    for limit in (1, 2, 100):
        found = breakdown(run, by, limit)
        names = [row[by] or nobody for row in rows]
        order = sorted(set(names), key=lambda name: (-names.count(name), name))
        assert [group["name"] for group in found["groups"]] == order[:limit] and found["total"] == len(order)
        for group, own in [*((one, [one["name"]]) for one in found["groups"]), (found["others"], order[limit:])]:
            some = [row for row in rows if (row[by] or nobody) in own]
            assert group["records"] == len(some)
            for verdict in ("kept", "dropped", "duplicate", "quarantined"):
                assert group[verdict] == sum(row["verdict"] == verdict for row in some)
            reasons = [f"{row['stage']}.{row['rule']}" for row in some if row["rule"]]
            assert group["reasons"] == {reason: reasons.count(reason) for reason in reasons}


def test_the_nearest_are_the_nearest(data: Milled, tmp_path: Path) -> None:
    run = opened(data, data.second, tmp_path)
    rows = [row for row in plain(run) if row["word_count"] is not None]
    limits = next(rule for rule in run.rule_counts() if rule["rule"] == "few-words")["thresholds"]

    def distance(row: Row) -> float:
        return abs(row["word_count"] - limits.get(row["language"], limits["default"]))

    for count in (1, 7, 100):
        expected = sorted(rows, key=distance)[:count]  # a stable sort, so that of equal ones the first comes first
        found = nearest(run, "few-words", count)
        assert [(one["id"], one["distance"]) for one in found] == [(row["id"], distance(row)) for row in expected]


def test_two_runs_are_compared_record_by_record(data: Milled, tmp_path: Path) -> None:
    runs = [opened(data, run, tmp_path) for run in (data.first, data.second)]
    sides = [{(row["shard"], row["id"]): row for row in plain(run)} for run in runs]

    def fate(row: Row) -> str:
        return f"{row['verdict']}: {row['stage']}.{row['rule']}" if row["rule"] else str(row["verdict"])

    changes: dict[tuple[str, str], list[str]] = {}
    for key in sides[0].keys() & sides[1].keys():
        was, now = fate(sides[0][key]), fate(sides[1][key])
        if was != now:
            changes.setdefault((was, now), []).append(key[1])
    found = compare(*runs, 2)
    expected = sorted(changes.items(), key=lambda one: (-len(one[1]), one[0]))
    assert expected and [(one["was"], one["now"], one["documents"], one["samples"]) for one in found["changes"]] == [
        (*kind, len(ids), sorted(ids)[:2]) for kind, ids in expected
    ]
    assert found["same"] == len(sides[0]) - sum(map(len, changes.values()))
    assert (found["only_first"], found["only_second"]) == (0, 0)


def test_records_of_one_side_only_are_counted(data: Milled, tmp_path: Path) -> None:
    runs = [opened(data, run, tmp_path) for run in (data.first, data.asks)]
    found = compare(*runs, 2)
    assert (found["only_first"], found["only_second"], found["same"]) == (*(run.lookup.count for run in runs), 0)


# --- on disk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"nothing of the kind", None])
def test_a_file_that_is_none_is_made_again(data: Milled, tmp_path: Path, damage: bytes | None) -> None:
    run, path = opened(data, data.first), tmp_path / "lookups" / "it.arrow"
    path.parent.mkdir()
    if damage is not None:
        path.write_bytes(damage)
    for _ in range(2):
        lookup = kept_in(path, run)
        assert lookup is not None and lookup.count == len(plain(run))
        path.touch()
    written = path.stat().st_ino
    kept_in(path, run)
    assert path.stat().st_ino == written and [one.name for one in path.parent.iterdir()] == ["it.arrow"]


def test_the_same_run_has_the_same_lookup(data: Milled, tmp_path: Path) -> None:
    run = opened(data, data.first)
    for name in ("one", "other"):
        kept_in(tmp_path / name, run)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_folder_is_bounded(data: Milled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, names = opened(data, data.first), [tmp_path / f"{n}.arrow" for n in range(4)]
    lookup = kept_in(names[0], run)
    monkeypatch.setattr(lookups, "ROOM", 2 * names[0].stat().st_size)
    for age, path in enumerate(names[1:3]):
        kept_in(path, run)
        path.with_name(f"{path.stem}.counts-1.json").write_text("{}")
        os.utime(path, (age, age))
    kept_in(names[0], run)  # used last, though made first
    kept_in(names[3], run)
    assert sorted(tmp_path.iterdir()) == [names[0], names[3]]
    assert lookup is not None and lookup.row(lookup.id_of(3)) == 3 and ROOM > 1 << 30  # what is mapped stays


def test_what_was_counted_is_counted_once(data: Milled, tmp_path: Path) -> None:
    plainly = duplicates(opened(data, data.first), 3)
    assert plainly is not None and plainly["near"]["documents"] > 0
    for _ in range(2):
        assert duplicates(opened(data, data.first, tmp_path), 3) == plainly  # the second one is read
    (kept,) = tmp_path.glob(f"{data.first}.duplicates-*-3.json")
    kept.write_text(json.dumps({**plainly, "threshold": 0.5}))
    assert duplicates(opened(data, data.first, tmp_path), 3) == {**plainly, "threshold": 0.5}
    for damage in (b"", b'{"thr'):
        kept.write_bytes(damage)
        assert duplicates(opened(data, data.first, tmp_path), 3) == plainly
    duplicates(opened(data, data.first, tmp_path), 1)
    assert len(list(tmp_path.glob("*.json"))) == 2  # another limit is another answer


def test_without_a_folder_it_is_in_memory(data: Milled, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = opened(data, data.first, tmp_path / "file" / "below")
    assert run.lookup is run.lookup and run.lookup.count == len(plain(run))


def test_of_nothing_there_is_an_empty_one(data: Milled, tmp_path: Path) -> None:
    mill = data.mill
    source = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), source)
    recipe = {"name": "empty", "stages": [{"stage": "extraction"}], "limits": {"max_quarantined_share": None}}
    empty = FinishedRun(str(mill.folder / "runs" / mill.finished("Empty", recipe, [source])))
    lookup = Lookup(tabled(empty))
    assert lookup.count == 0 and lookup.row("0" * 32) is None and not len(lookup.ids)
    assert documents(empty, Wanted(verdict="kept"), None, 5) == ([], None)
    assert breakdown(empty, "host", 5)["groups"] == [] and compare(empty, empty, 3)["changes"] == []
