"""Deduplication over files decides as deduplication in memory does, however it is cut, and as brute force does."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import oracle
from curation.duplicates.find import find_duplicates
from curation.errors import InputError, RunError
from pipelines import comparison
from pipelines import index as index_module
from pipelines.deduplication import large, order, pairs, work
from pipelines.deduplication.records import Step, StepWriter
from pipelines.index import Index, prepare_earlier
from pipelines.mill import mill_shard
from pipelines.recipe import load_recipe
from pipelines.storage import Storage
from pipelines.verify import verify_run
from tests.support.corpus import HAN, write_jsonl
from tests.support.runs import plan_of, rows, run_recipe, tree, write_recipe
from workers import tasks

RECIPE = "name: {name}\nstages:\n  - stage: extraction\ndeduplication:\n  memory_mib: 16\n{more}"


def recipe(folder: Path, more: str = "", name: str = "night") -> Path:
    return write_recipe(folder, RECIPE.format(name=name, more=more), f"{name}.yaml")


def texts(seed: int, families: int = 30) -> list[str]:
    """Families of edited copies, chains whose ends differ, templates, exact copies, odd and empty texts."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 8))) for _ in range(800)] + list(HAN)
    found = ["", "one", "one two", "…", "一二三", " ".join(vocabulary[:4])]
    for _ in range(families):
        words = rng.choices(vocabulary, k=rng.randint(20, 160))
        for _ in range(rng.randint(1, 9)):
            found.append(" ".join(words))
            for _ in range(rng.choice([0, 0, 1, 1, 2, 4, 9])):
                words[rng.randrange(len(words))] = rng.choice(vocabulary)  # from version to version: a chain
    template = rng.choices(vocabulary, k=90)
    found += [" ".join([*template, *rng.choices(vocabulary, k=rng.choice([6, 16, 18, 20, 26]))]) for _ in range(40)]
    rng.shuffle(found)
    return found


def shards_of(folder: Path, collection: list[str], count: int, name: str = "s") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    parts = [collection[number::count] for number in range(count)]
    return [
        write_jsonl(folder / f"{name}{number}.jsonl", [{"text": text, "id": text[:9]} for text in part])
        for number, part in enumerate(parts)
    ]


def ledger_of(output: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows(output) if row["verdict"] in ("kept", "duplicate")}


def decided(output: Path) -> list[tuple[Any, ...]]:
    columns = (
        "id",
        "verdict",
        "rule",
        "witness",
        "shared_shingles",
        "all_shingles",
        "cluster",
        "cluster_size",
        "copies",
    )
    return sorted(tuple(row[name] for name in columns) for row in ledger_of(output).values())


def evidence_agrees(output: Path, sets: dict[str, set[str]]) -> None:
    """Stored documents are those of the ledger, pairs are true, and they hold what the ledger says of duplicates."""
    folder = json.loads((output / "run.json").read_text())["deduplication_key"]
    step = Step(Storage(str(output)), f"deduplication/{folder}")
    whole = {name: step.concatenate(name, range(len(step.sizes(name)))) for name in ("documents", "ids", "pairs")}
    documents, ids = whole["documents"], [bytes(id_).hex() for id_ in whole["ids"]["id"]]
    left = [
        [row["id"] for row in pq.read_table(file).to_pylist() if row["verdict"] in ("kept", "duplicate")]
        for file in sorted((output / "ledger").glob("*.parquet"))
    ]
    head = dict(zip(ids, (ids[place] for place in documents["head"]), strict=True))
    for id_, document in zip(ids, documents, strict=True):
        assert document["origin"] or left[document["shard"]][document["row"]] == id_
    component = documents["component"]
    assert (component == component[documents["head"]]).all()
    families = documents["family"]
    assert all(len(set(component[families == family])) == 1 for family in set(families) - {0})
    known = set()
    for pair in whole["pairs"]:
        one, other = ids[pair["left"]], ids[pair["right"]]
        assert component[pair["left"]] == component[pair["right"]]
        assert pair["shared"] == len(sets[one] & sets[other]) and pair["union"] == len(sets[one] | sets[other])
        assert 5 * pair["shared"] > 4 * pair["union"] and head[other] == other
        known.add((head[one], other))
    order = whole["pairs"]["right"].astype(np.int64) << 32 | whole["pairs"]["left"]
    assert (np.diff(order) > 0).all() and (whole["pairs"]["left"] < whole["pairs"]["right"]).all()
    for id_, row in ledger_of(output).items():
        if row["rule"] == "exact":
            assert head[id_] == head[row["witness"]]
        elif row["rule"] == "near":
            assert (head[row["witness"]], head[id_]) in known


def texts_of(output: Path) -> dict[str, str]:
    return {row["id"]: row["text"] for folder in ("corpus", "dropped") for row in rows(output, folder)}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is cut as small as can be: many ranges, partitions, blocks; sets of a few documents at a time."""
    monkeypatch.setattr(work.Work, "memory", property(lambda _: 200_000))
    monkeypatch.setattr(work, "LEAST_PART", 1)
    monkeypatch.setattr(work, "CHUNK", 7)
    monkeypatch.setattr(order, "CHUNK", 7)
    monkeypatch.setattr(pairs, "LARGE_BUCKET", 3)
    monkeypatch.setattr(large, "BATCH_DOCUMENTS", 10)


def in_memory(output: Path, limit: int) -> dict[str, tuple[Any, ...]]:
    """What :func:`find_duplicates` says of the same documents, by id."""
    ledger, found = ledger_of(output), texts_of(output)
    ids = sorted(ledger, key=lambda id_: (-ledger[id_]["token_count"], id_))
    column = pa.array([found[id_] for id_ in ids], pa.large_string())
    decisions = find_duplicates(column, rank=np.arange(len(ids)), large_bucket=limit)
    return {
        id_: (
            bool(decisions.kept[at]),
            None if decisions.kept[at] else ids[decisions.witness[at]],
            int(decisions.intersection[at]),
            int(decisions.union[at]),
            int(decisions.multiplicity[at]),
        )
        for at, id_ in enumerate(ids)
    }


@pytest.mark.parametrize("seed", range(6))
def test_as_in_memory_and_by_brute_force(seed: int, tmp_path: Path, tiny: None) -> None:
    collection = texts(seed)
    run_recipe(recipe(tmp_path), shards_of(tmp_path, collection, 3), tmp_path / "out")
    ledger, found = ledger_of(tmp_path / "out"), texts_of(tmp_path / "out")
    expected = in_memory(tmp_path / "out", 10**6)
    for id_, row in ledger.items():
        kept, witness, shared, union, copies = expected[id_]
        assert (row["verdict"] == "kept", row["witness"], row["copies"]) == (kept, witness, copies)
        assert (row["shared_shingles"] or 0, row["all_shingles"] or 0) == (shared, union)
    truth = oracle.all_pairs([found[id_] for id_ in ledger], Fraction(4, 5))
    judgement = oracle.judge(truth, np.array([row["verdict"] == "kept" for row in ledger.values()]))
    assert judgement.pairs > 80 and judgement.orphans == 0 and judgement.surviving <= judgement.pairs * 0.002
    evidence_agrees(tmp_path / "out", {id_: oracle.shingles(found[id_]) for id_ in ledger})
    assert len(verify_run(str(tmp_path / "out"))) == 6


def test_however_it_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = texts(77)
    shards = shards_of(tmp_path, collection, 4)
    run_recipe(recipe(tmp_path), shards, tmp_path / "whole")
    run_recipe(recipe(tmp_path), shards[::-1], tmp_path / "workers", workers=2)
    assert tree(tmp_path / "workers") == tree(tmp_path / "whole")
    monkeypatch.setattr(work, "LEAST_PART", 1)
    monkeypatch.setattr(work.Work, "memory", property(lambda _: 20_000))
    run_recipe(recipe(tmp_path), shards, tmp_path / "cut")
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")


def test_steps_leave_nothing_behind(tmp_path: Path) -> None:
    run_recipe(recipe(tmp_path), shards_of(tmp_path, texts(5), 2), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / "deduplication").rglob("*") if path.is_file()} == {
        "outcome.records", "documents.records", "ids.records", "pairs.records", "manifest.json",
    }  # fmt: skip


@pytest.mark.parametrize("indexed", ["run", "index", "compacted"])
def test_a_second_night(indexed: str, tmp_path: Path, tiny: None) -> None:
    collection = texts(9, families=30)
    first, second = collection[: len(collection) // 2], collection[len(collection) // 2 :]
    run_recipe(recipe(tmp_path, name="first"), shards_of(tmp_path / "1", first, 2), tmp_path / "night1")
    named = tmp_path / "night1"
    if indexed != "run":
        named = tmp_path / "index"
        half = tmp_path / "half"
        run_recipe(recipe(tmp_path, name="half"), shards_of(tmp_path / "h", texts(10), 1), half)
        index = Index.create(str(named), index_settings(tmp_path))
        assert index.add(str(half)) == len(rows(half, "corpus"))
        assert index.add(str(named.parent / "night1")) == len(rows(tmp_path / "night1", "corpus"))
        assert index.add(str(half)) == 0
        if indexed == "compacted":
            assert index.compact() == 2 and len(Index(str(named)).segments) == 1
    more = f"  earlier: ['{named}']\n"
    prepare_earlier(load_recipe(recipe(tmp_path, more, "second")))
    run_recipe(recipe(tmp_path, more, "second"), shards_of(tmp_path / "2", second, 2), tmp_path / "night2")
    earlier = {row["id"]: row["text"] for row in rows(tmp_path / "night1", "corpus")}
    if indexed != "run":
        earlier |= {row["id"]: row["text"] for row in rows(tmp_path / "half", "corpus")}
    ledger, found = ledger_of(tmp_path / "night2"), texts_of(tmp_path / "night2")
    sets = {id_: oracle.shingles(text) for id_, text in (earlier | found).items()}

    def like(one: str, other: str) -> bool:
        both = len(sets[one] & sets[other])
        return 5 * both > 4 * (len(sets[one]) + len(sets[other]) - both)

    kept = [id_ for id_, row in ledger.items() if row["verdict"] == "kept"]
    assert not any(like(id_, other) for id_ in kept for other in earlier)
    assert not any(like(one, other) for one in kept for other in kept if one < other)
    gone = {id_: row for id_, row in ledger.items() if row["verdict"] == "duplicate"}
    assert len(gone) > 20 and any(row["witness_dataset"] for row in gone.values())
    for id_, row in gone.items():
        assert row["witness"] in (earlier if row["witness_dataset"] else kept)
        assert like(id_, row["witness"])
        shared, union = len(sets[id_] & sets[row["witness"]]), len(sets[id_] | sets[row["witness"]])
        assert (row["shared_shingles"], row["all_shingles"]) == (shared, union)
    assert {row["witness_dataset"].split("@")[0] for row in gone.values() if row["witness_dataset"]} <= {
        "first",
        "half",
    }
    evidence_agrees(tmp_path / "night2", sets)
    assert len(verify_run(str(tmp_path / "night2"))) == 6


def index_settings(folder: Path) -> dict[str, Any]:
    from pipelines.index import settings_for

    parameters = load_recipe(recipe(folder)).recipe.deduplication
    assert parameters is not None
    return settings_for(parameters)


def test_a_retracted_document_gives_its_duplicates_back(tmp_path: Path) -> None:
    original = " ".join(f"word{number}" for number in range(60))
    copy = original.replace("word30", "changed")
    run_recipe(recipe(tmp_path, name="first"), shards_of(tmp_path / "1", [original, "else"], 1), tmp_path / "night1")
    more = f"  earlier: ['{tmp_path / 'night1'}']\n"
    second, shards = recipe(tmp_path, more, "second"), shards_of(tmp_path / "2", [copy, copy, "more"], 1)
    prepare_earlier(load_recipe(second))
    run_recipe(second, shards, tmp_path / "night2")
    assert [row["verdict"] for row in rows(tmp_path / "night2")].count("duplicate") == 2
    witness = next(row["witness"] for row in rows(tmp_path / "night2") if row["witness"])
    index = Index(str(tmp_path / "night1"))
    assert [twin.id for twin in index.twins(copy)] == [witness]
    assert index.retract([witness, "0" * 32]) == [witness]
    assert Index(str(tmp_path / "night1")).twins(copy) == []
    again = run_recipe(second, shards, tmp_path / "night2")
    assert not again.did_nothing and again.computed == {}
    assert [row["verdict"] for row in rows(tmp_path / "night2")].count("duplicate") == 1
    assert {row["witness_dataset"] for row in rows(tmp_path / "night2")} == {None}
    index.compact()
    run_recipe(second, shards, tmp_path / "night2")
    assert [row["verdict"] for row in rows(tmp_path / "night2")].count("duplicate") == 1


def test_twins_are_those_of_brute_force(tmp_path: Path) -> None:
    collection = [text for text in texts(3) if text.strip()]
    run_recipe(recipe(tmp_path), shards_of(tmp_path, collection, 2), tmp_path / "out")
    index = Index.create(str(tmp_path / "index"), index_settings(tmp_path))
    index.add(str(tmp_path / "out"))
    corpus = {row["id"]: row["text"] for row in rows(tmp_path / "out", "corpus")}
    for text in collection[:40]:
        mine = oracle.shingles(text)
        expected = {}
        for id_, other in corpus.items():
            both = len(mine & oracle.shingles(other))
            if 5 * both > 4 * len(mine | oracle.shingles(other)):
                expected[id_] = both
        assert {twin.id: twin.shared for twin in index.twins(text)} == expected


@pytest.mark.parametrize("file", ["prints", "ids"])
def test_a_damaged_index_is_refused_by_name(file: str, tmp_path: Path) -> None:
    run_recipe(recipe(tmp_path, name="first"), shards_of(tmp_path / "1", texts(1), 1), tmp_path / "night1")
    index = Index.create(str(tmp_path / "index"), index_settings(tmp_path))
    index.add(str(tmp_path / "night1"))
    path = next((tmp_path / "index").rglob(f"{file}.records"))
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 50):
        data[at] ^= 1
    path.write_bytes(data)
    second = recipe(tmp_path, f"  earlier: ['{tmp_path / 'index'}']\n", "second")
    with pytest.raises(RunError, match=rf"{file}\.records.*digest differs"):
        run_recipe(second, shards_of(tmp_path / "2", texts(1), 1), tmp_path / "night2")
    # What was damaged is out of the account; the corpus can be added again.
    assert Index(str(tmp_path / "index")).add(str(tmp_path / "night1")) > 0
    run_recipe(second, shards_of(tmp_path / "2", texts(1), 1), tmp_path / "night2")
    assert len(verify_run(str(tmp_path / "night2"))) == 6


@pytest.mark.parametrize("step", ["keys", "order", "copies", "prints", "pairs", "merge", "sets", "verify"])
def test_a_damaged_step_is_noticed_and_made_again(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = shards_of(tmp_path, texts(8), 2)
    run_recipe(recipe(tmp_path), shards, tmp_path / "whole")
    damaged: list[Path] = []
    perform = comparison.perform

    def damage_one(plan: Any, storage: Any, name: str, part: int) -> None:
        perform(plan, storage, name, part)
        if name == step and not damaged:
            path = max((tmp_path / "out").rglob(f"{step}/00000/*.records"), key=lambda file: file.stat().st_size)
            path.write_bytes(bytes(byte ^ 8 for byte in path.read_bytes()))
            damaged.append(path)

    monkeypatch.setattr(tasks, "perform_step", damage_one)
    with pytest.raises(RunError, match=r"digest differs\); run again"):
        run_recipe(recipe(tmp_path), shards, tmp_path / "out")
    assert damaged and not (tmp_path / "out" / "manifest.json").exists()
    run_recipe(recipe(tmp_path), shards, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_an_index_of_other_settings_is_refused(tmp_path: Path) -> None:
    run_recipe(recipe(tmp_path, name="first"), shards_of(tmp_path / "1", texts(1), 1), tmp_path / "night1")
    index = Index.create(str(tmp_path / "index"), index_settings(tmp_path))
    index.add(str(tmp_path / "night1"))
    for setting, name in (("  seed: 2\n", "seed"), ("  scheme: affine64\n", "scheme"), ("  recall: 0.9\n", "perm")):
        other = recipe(tmp_path, f"{setting}  earlier: ['{tmp_path / 'index'}']\n", "other")
        with pytest.raises(InputError, match=f"the index was made with {name}"):
            plan_of(other, tmp_path / "1")
    nowhere = recipe(tmp_path, "  earlier: [nowhere]\n", "nowhere")
    with pytest.raises(InputError, match="neither an index nor a finished run"):
        plan_of(nowhere, tmp_path / "1")


def test_a_run_that_is_in_its_own_index_stays_what_it_is(tmp_path: Path) -> None:
    nights = [shards_of(tmp_path / str(number), texts(number), 1) for number in range(3)]
    index = Index.create(str(tmp_path / "index"), index_settings(tmp_path))
    before = []
    for number, shards in enumerate(nights):
        with_memory = recipe(tmp_path, f"  earlier: ['{tmp_path / 'index'}']\n", f"night{number}")
        run_recipe(with_memory, shards, tmp_path / f"out{number}")
        index.add(str(tmp_path / f"out{number}"))
        before.append(tree(tmp_path / f"out{number}"))
    for number, shards in enumerate(nights):
        with_memory = tmp_path / f"night{number}.yaml"
        assert run_recipe(with_memory, shards, tmp_path / f"out{number}").did_nothing
        # Another recipe sees what there is by now, but never its own corpus.
        other = recipe(tmp_path, f"  recall: 0.9981\n  earlier: ['{tmp_path / 'index'}']\n", f"night{number}")
        assert rows(tmp_path / f"out{number}", "corpus")
        if number == 2:
            run_recipe(other, shards, tmp_path / f"out{number}")
            assert {row["id"] for row in rows(tmp_path / "out2", "corpus")} >= {
                row["id"] for row in rows(tmp_path / "out2") if row["verdict"] == "kept"
            }
            assert not any(row["id"] == row["witness"] for row in rows(tmp_path / "out2"))
            assert rows(tmp_path / "out2", "corpus")


def test_an_index_that_is_cut_short_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_recipe(recipe(tmp_path, name="first"), shards_of(tmp_path / "1", texts(1), 3), tmp_path / "night1")
    second = recipe(tmp_path, f"  earlier: ['{tmp_path / 'night1'}']\n", "second")
    monkeypatch.setattr(index_module, "RUN_DOCUMENTS", 1)  # a sorted run for each part
    build, built = Index._build, []

    def killed(self: Index, folder: str, parts: Any) -> None:
        if len(built) == 2:
            raise KeyboardInterrupt
        built.append(folder)
        build(self, folder, parts)

    monkeypatch.setattr(Index, "_build", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare_earlier(load_recipe(second))
    assert Index(str(tmp_path / "night1")).segments == []
    monkeypatch.setattr(Index, "_build", build)
    prepare_earlier(load_recipe(second))
    opened = Index(str(tmp_path / "night1"))
    assert len(opened.segments) == 3
    assert sum(segment.documents for segment in opened.segments) == len(rows(tmp_path / "night1", "corpus"))


def test_adding_one_corpus_forgets_no_other(tmp_path: Path) -> None:
    for number in range(2):
        run_recipe(
            recipe(tmp_path, name=f"n{number}"),
            shards_of(tmp_path / str(number), texts(number), 1),
            tmp_path / f"o{number}",
        )
    index = Index.create(str(tmp_path / "index"), index_settings(tmp_path))
    stale = Index(str(tmp_path / "index"))
    index.add(str(tmp_path / "o0"))
    stale.add(str(tmp_path / "o1"))  # from what the index is now, not from what it was when it was opened
    assert len(Index(str(tmp_path / "index")).segments) == 2
    first = next(iter(Index(str(tmp_path / "index")).segments)).step.folder
    (tmp_path / "index" / first / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"add again what is in it: n0"):
        stale.add(str(tmp_path / "o1"))
    with pytest.raises(InputError, match=r"add again what is in it: n0"):
        Index(str(tmp_path / "index")).twins("text")
    assert stale.add(str(tmp_path / "o0")) == len(rows(tmp_path / "o0", "corpus"))
    assert len(Index(str(tmp_path / "index")).segments) == 2


def test_a_newer_version_of_a_corpus_takes_the_place_of_the_older(tmp_path: Path) -> None:
    shards = shards_of(tmp_path / "1", texts(1), 1)
    run_recipe(recipe(tmp_path, name="first"), shards, tmp_path / "out")
    index = Index.create(str(tmp_path / "index"), index_settings(tmp_path))
    index.add(str(tmp_path / "out"))
    run_recipe(recipe(tmp_path, name="renamed"), shards, tmp_path / "out")
    index.add(str(tmp_path / "out"))
    text = max(rows(tmp_path / "out", "corpus"), key=lambda row: len(row["text"]))
    assert [(twin.dataset, twin.id) for twin in index.twins(text["text"])] == [("renamed", text["id"])]


def test_a_corpus_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    run_recipe(recipe(tmp_path, name="first"), shards_of(tmp_path / "1", texts(1), 1), tmp_path / "night1")
    index = Index.create(str(tmp_path / "index"), index_settings(tmp_path))
    index.add(str(tmp_path / "night1"))
    path = next((tmp_path / "night1" / "corpus").glob("*.parquet"))
    text = max(rows(tmp_path / "night1", "corpus"), key=lambda row: len(row["text"]))["text"]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="gone or changed"):
        Index(str(tmp_path / "index")).twins(text)


@pytest.mark.parametrize("folder", ["../victim", "segments/../../victim", "/victim", "segments/xyz"])
def test_a_hostile_index_is_refused(folder: str, tmp_path: Path) -> None:
    index = Index.create(str(tmp_path / "index"), index_settings(tmp_path))
    state = json.loads((tmp_path / "index" / "index.json").read_text())
    state["segments"] = [{"folder": folder, "corpora": []}]
    (tmp_path / "index" / "index.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match="that is none"):
        Index(str(tmp_path / "index"))
    with pytest.raises(InputError, match="that is none"):
        index.compact()


def test_ranges_are_even_however_small_the_shards_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "LEAST_PART", 1)
    monkeypatch.setattr(work.Work, "memory", property(lambda _: 32 * 64 * 40))  # ranges of about 40 documents
    collection = [" ".join(str(number * step) for step in range(1, 3 + number % 50)) for number in range(400)]
    plan = plan_of(recipe(tmp_path), *shards_of(tmp_path, collection, 40))
    storage = Storage(str(tmp_path / "out"))
    for shard in plan.shards:
        mill_shard(plan, shard, storage)
    for part in range(len(plan.shards)):
        comparison.perform(plan, storage, "keys", part)
    job = work.Work(plan, storage)
    assert job.sizes.ranges == 11
    for part in range(job.sizes.ranges):
        comparison.perform(plan, storage, "order", part)
    sizes = [job.step("order", part).facts["documents"] for part in range(job.sizes.ranges)]
    assert sum(sizes) == 400 and max(sizes) <= 45


@pytest.mark.slow
def test_workers_and_backends_decide_the_same(tmp_path: Path) -> None:
    collection = [text for seed in range(20, 26) for text in texts(seed)]
    first = shards_of(tmp_path / "1", collection[::3], 3)
    run_recipe(recipe(tmp_path, name="first"), first, tmp_path / "night1")
    shards = shards_of(tmp_path / "2", collection, 5)
    second = recipe(tmp_path, f"  earlier: ['{tmp_path / 'night1'}']\n", "second")
    prepare_earlier(load_recipe(second))
    run_recipe(second, shards, tmp_path / "one")
    assert any(row["witness_dataset"] for row in rows(tmp_path / "one"))
    run_recipe(second, shards[::-1], tmp_path / "four", workers=4)
    assert tree(tmp_path / "four") == tree(tmp_path / "one")
    pytest.importorskip("ray")
    run_recipe(second, shards, tmp_path / "ray", workers=2, backend="ray")
    assert tree(tmp_path / "ray") == tree(tmp_path / "one")


@pytest.mark.parametrize("step", ["prints", "sets", "verify", "decide"])
def test_a_full_disk_ends_the_run_and_commits_nothing(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = shards_of(tmp_path, texts(4), 2)
    run_recipe(recipe(tmp_path), shards, tmp_path / "whole")
    write = StepWriter.write

    def full(self: StepWriter, name: str, dtype: np.dtype, parts: Any) -> None:
        if steps_running[-1].startswith(step):
            with self._storage.writer(f"{self._folder}/{name}.records") as stream, open("/dev/full", "wb", 0) as disk:
                stream.write(b"half")
                disk.write(b"x")  # No space left on device
        write(self, name, dtype, parts)

    steps_running: list[str] = []
    perform = comparison.perform

    def watched(plan: Any, storage: Any, name: str, part: int) -> None:
        steps_running.append(name)
        perform(plan, storage, name, part)

    with monkeypatch.context() as patched:
        patched.setattr(StepWriter, "write", full)
        patched.setattr(tasks, "perform_step", watched)
        with pytest.raises(RunError, match="No space left on device; nothing was committed"):
            run_recipe(recipe(tmp_path), shards, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").rglob("*.tmp-*"))
    run_recipe(recipe(tmp_path), shards, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
