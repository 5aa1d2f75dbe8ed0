"""A run over small shards: every record accounted for, the same bytes every way, only what changed is redone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipelines.verify import verify_run
from tests.support.corpus import chinese, english, write_jsonl
from tests.support.runs import PLAIN, plan_of, rows, run_recipe, tree, write_recipe


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards")
    first = [{"id": f"a{i}", "text": english(i), "url": f"https://a.example/{i}"} for i in range(6)]
    first += [{"id": "copy", "text": english(0).replace(". ", " — ")}, "{ not json", {"id": "empty", "text": ""}]
    near = english(1, 40).replace("on day", "on the day", 1)
    second = [{"id": f"b{i}", "text": chinese(i)} for i in range(3)] + [{"id": "long", "text": english(1, 40)}]
    second += [{"id": "near", "text": near}, {"id": "de", "text": "Der Müller trug die Säcke über den Hof. " * 9}]
    return [write_jsonl(folder / "first.jsonl", first), write_jsonl(folder / "second.jsonl.gz", second)]


@pytest.fixture(scope="module")
def finished(shards: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("run")
    recipe = write_recipe(folder)
    run_recipe(recipe, shards, folder / "out")
    return recipe, folder / "out"


def test_every_record_has_its_verdict(finished: tuple[Path, Path]) -> None:
    ledger = {row["record_id"] or "broken": row for row in rows(finished[1])}
    assert Counter(row["verdict"] for row in ledger.values()) == {
        "kept": 6 + 3 + 1,
        "duplicate": 2,
        "dropped": 2,
        "quarantined": 1,
    }
    assert ledger["broken"]["rule"] == "malformed-json"
    assert ledger["empty"]["rule"] == "empty-text"
    assert (ledger["de"]["stage"], ledger["de"]["rule"], ledger["de"]["detail"]) == (
        "language", "language-not-kept", "de",
    )  # fmt: skip


def test_duplicates_name_kept_witnesses(finished: tuple[Path, Path]) -> None:
    ledger = {row["record_id"] or "broken": row for row in rows(finished[1])}
    by_id = {row["id"]: row for row in ledger.values()}
    exact = next(row for row in (ledger["copy"], ledger["a0"]) if row["verdict"] == "duplicate")
    assert (exact["rule"], exact["similarity"], exact["threshold"]) == ("exact", 1.0, 0.8)
    assert by_id[exact["witness"]]["verdict"] == "kept"
    assert by_id[exact["witness"]]["copies"] == 2
    near = ledger["near"] if ledger["near"]["verdict"] == "duplicate" else ledger["long"]
    assert near["rule"] == "near" and 0.8 < near["similarity"] < 1
    assert near["similarity"] == near["shared_shingles"] / near["all_shingles"]
    assert near["cluster_size"] == by_id[near["witness"]]["cluster_size"] == 2


def test_corpus_holds_what_is_kept(finished: tuple[Path, Path]) -> None:
    corpus = {row["id"]: row for row in rows(finished[1], "corpus")}
    kept = {row["id"] for row in rows(finished[1]) if row["verdict"] == "kept"}
    assert set(corpus) == kept
    one = next(row for row in corpus.values() if row["url"] == "https://a.example/2")
    assert one["text"] == english(2)
    assert (one["language"], one["source"]) == ("en", "first.jsonl")


def test_verify_is_content(finished: tuple[Path, Path]) -> None:
    assert len(verify_run(str(finished[1]))) == 6


def test_a_finished_run_does_nothing(finished: tuple[Path, Path], shards: list[Path]) -> None:
    recipe, output = finished
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert run_recipe(recipe, shards, output).did_nothing
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


def test_any_order_any_number_of_workers_the_same_bytes(
    finished: tuple[Path, Path], shards: list[Path], tmp_path: Path
) -> None:
    recipe, output = finished
    run_recipe(recipe, shards[::-1], tmp_path / "out", workers=2)
    assert tree(tmp_path / "out") == tree(output)


def test_a_moved_shard_keeps_its_results(shards: list[Path], tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    run_recipe(recipe, shards, tmp_path / "out")
    moved = tmp_path / "elsewhere.jsonl"
    moved.write_bytes(shards[0].read_bytes())
    again = run_recipe(recipe, [moved, shards[1]], tmp_path / "out")
    assert not again.did_nothing and again.computed == {}
    assert {row["shard"] for row in rows(tmp_path / "out")} == {"elsewhere.jsonl", "second.jsonl.gz"}


def test_equal_shards_are_told_apart(shards: list[Path], tmp_path: Path) -> None:
    twin = tmp_path / "twin.jsonl"
    twin.write_bytes(shards[0].read_bytes())
    run_recipe(write_recipe(tmp_path), [shards[0], twin], tmp_path / "out")
    ledger = rows(tmp_path / "out")
    assert len({row["id"] for row in ledger}) == len(ledger) == 18
    assert Counter(row["verdict"] for row in ledger) == {"kept": 6, "duplicate": 8, "dropped": 2, "quarantined": 2}


@pytest.mark.parametrize(
    ("old", "new", "redone"),
    [
        ("min_score: 0.5", "min_score: 0.4", {"sketch"}),
        ("keep: [en, zh]", "keep: [en, zh, de]", {"language", "sketch"}),
        (
            "- stage: extraction",
            "- stage: extraction\n    cpu_seconds: 9",
            {"extraction", "size", "language", "sketch"},
        ),
        ("name: plain", "name: renamed", set()),
        ("name: plain", "name: plain\ndeduplication: {threshold: 0.9}", {"sketch"}),
        ("name: plain", "name: plain\nretention: {dropped_texts: none}", set()),
        ("name: plain", "name: plain\nread: {http_status: 201}", {"language", "size", "extraction", "sketch"}),
    ],
)
def test_a_change_redoes_exactly_what_depends_on_it(
    shards: list[Path], tmp_path: Path, old: str, new: str, redone: set[str]
) -> None:
    run_recipe(write_recipe(tmp_path), shards, tmp_path / "out")
    changed = write_recipe(tmp_path, PLAIN.replace(old, new), "changed.yaml")
    result = run_recipe(changed, shards, tmp_path / "out")
    assert not result.did_nothing
    assert set(result.computed) == redone
    fresh = tmp_path / "fresh"
    run_recipe(changed, shards, fresh)
    published = {name: digest for name, digest in tree(fresh).items() if not name.startswith(("shards", "dedup"))}
    assert published.items() <= tree(tmp_path / "out").items()
    back = run_recipe(write_recipe(tmp_path), shards, tmp_path / "out")
    assert back.computed == {}


def test_a_new_shard_leaves_the_others_alone(shards: list[Path], tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    run_recipe(recipe, shards[:1], tmp_path / "out")
    result = run_recipe(recipe, shards, tmp_path / "out")
    assert set(result.computed.values()) == {1}
    plan = plan_of(recipe, *shards)
    assert len(list((tmp_path / "out" / "shards").iterdir())) == len(plan.shards) == 2
