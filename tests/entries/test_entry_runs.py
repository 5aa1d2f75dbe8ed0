"""Preference pairs and instructions through the mill: every record accounted for, and a set that others can load."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curation.errors import InputError
from curation.preferences import pair_unpaired, read_unpaired
from pipelines.look import FinishedRun
from pipelines.recipe import load_recipe
from pipelines.verify import verify_run
from tests.support.corpus import english
from tests.support.runs import rows, run_recipe, tree, write_recipe

PAIRS = """
name: pairs
entries: {kind: preferences}
stages:
  - stage: pair
limits: {max_quarantined_share: 1}
"""
INSTRUCTIONS = """
name: instructions
entries: {kind: instructions}
stages:
  - stage: instruction
limits: {max_quarantined_share: 1}
"""
SIDES = """
name: sides
entries: {kind: preferences, language: en, license: MIT, source: hh}
stages:
  - stage: pair
  - stage: personal-data
    sides: [prompt, chosen, rejected]
"""


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def jsonl(path: Path, records: list[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def run(folder: Path, text: str, *inputs: Path, workers: int = 1, name: str = "out") -> Path:
    run_recipe(write_recipe(folder, text), list(inputs), folder / name, workers)
    verify_run(str(folder / name))
    return folder / name


def test_each_fate(tmp_path: Path) -> None:
    shard = jsonl(
        tmp_path / "a.jsonl",
        [
            pair("What is red?", "A colour of long waves.", "I do not know that."),
            pair("What is blue?", "The sky.", "The sky. \n"),
            pair("What is green?", "Grass.", ""),
            '{"prompt": "What is', 
            {"prompt": "x", "chosen": "y"},
            {"instruction": "a", "input": "", "output": ["best", "middle", "worst"]},
            pair("", "A", "B"),
        ],
    )  # fmt: skip
    output = run(tmp_path, PAIRS, shard)
    fates = [(row["verdict"], row["rule"]) for row in rows(output)]
    assert fates == [
        ("kept", None), ("dropped", "equal-responses"), ("dropped", "empty-rejected"),
        ("quarantined", "malformed-json"), ("quarantined", "missing-side"), ("quarantined", "mixed-schema"),
        ("quarantined", "empty-prompt"),
    ]  # fmt: skip
    (kept,) = rows(output, "corpus")
    assert kept["prompt"] == [{"role": "user", "content": "What is red?"}]
    assert kept["chosen"] == [{"role": "assistant", "content": "A colour of long waves."}]
    assert kept["source"] == "a.jsonl" and kept["margin"] is None
    history = FinishedRun(str(output)).history(kept["pair_id"])
    assert json.loads(history["text"])["rejected"][0]["content"] == "I do not know that."
    dropped = {row["rule"]: json.loads(row["text"]) for row in rows(output, "dropped") if row["text"]}
    assert dropped["equal-responses"]["rejected"][0]["content"] == "The sky. \n"


@pytest.mark.parametrize(("expand", "expected"), [("all", 3), ("adjacent", 2), ("best-worst", 1)])
def test_a_ranking_is_a_row_for_each_pair(tmp_path: Path, expand: str, expected: int) -> None:
    shard = jsonl(tmp_path / "a.jsonl", [{"instruction": "a", "input": "", "output": ["best", "middle", "worst"]}])
    output = run(tmp_path, PAIRS.replace("preferences}", f"preferences, expand: {expand}}}"), shard)
    found = rows(output, "corpus")
    assert len(found) == expected and len({row["pair_id"] for row in found}) == expected
    assert len({row["ranking_id"] for row in found}) == 1
    assert [row["inner_offset"] for row in rows(output)] == list(range(expected))
    found_pairs = {(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in found}
    assert (("best", "worst") in found_pairs) == (expand != "adjacent")


def test_a_tie_is_a_row_that_gives_no_pair(tmp_path: Path) -> None:
    tied = {"instruction": "a", "input": "", "output_1": "x", "output_2": "y", "preference": 0}
    better = {**tied, "preference": 2}
    output = run(tmp_path, PAIRS, jsonl(tmp_path / "a.jsonl", [tied, better]))
    assert [row["rule"] for row in rows(output)] == ["no-pair", None]
    assert rows(output, "corpus")[0]["chosen"][0]["content"] == "y"


def test_rated_answers_become_the_pairs_of_the_twin(tmp_path: Path) -> None:
    rng = random.Random(3)
    files: list[list[dict[str, Any]]] = []
    for file in range(2):  # the same prompts in both, and no pair across them
        records = [{"prompt": f"Tell me a story, number {n}.", "completion": english(rng.randrange(10**9)),
                    "label": rng.random() < 0.5} for n in range(30) for _ in range(rng.randrange(6))]  # fmt: skip
        rng.shuffle(records)
        files.append([{**record, "id": f"{file}-{n}"} for n, record in enumerate(records)])
    shards = [jsonl(tmp_path / f"{n}.jsonl", [*records, '{"prompt": "broken']) for n, records in enumerate(files)]
    output = run(tmp_path, PAIRS, *shards)

    twins = [pair_unpaired(map(read_unpaired, records)) for records in files]
    expected = {(pair.source_id, pair.chosen[0].content, pair.rejected[0].content)
                for twin in twins for pair in twin.pairs}  # fmt: skip
    ledger = {row["id"]: row for row in rows(output)}
    published = {(ledger[row["pair_id"]]["record_id"], row["chosen"][0]["content"], row["rejected"][0]["content"])
                 for row in rows(output, "corpus")}  # fmt: skip
    assert published == expected and len(rows(output, "corpus")) == len(expected) > 20
    rules = Counter(row["rule"] for row in ledger.values())
    left = [answer.source_id for twin in twins for answer in twin.left]
    assert rules == {None: len(expected), "in-pair": len(expected), "no-counterpart": len(left), "malformed-json": 2}
    assert {row["record_id"] for row in ledger.values() if row["rule"] == "no-counterpart"} == set(left)
    for row in ledger.values():
        if row["rule"] == "in-pair":
            assert row["record_id"] in ledger[row["detail"]]["record_id"].split("+")
            assert ledger[row["detail"]]["verdict"] == "kept"
    assert tree(run(tmp_path, PAIRS, *shards, workers=2, name="again")) == tree(output)


def test_a_mapping_reads_any_names(tmp_path: Path) -> None:
    shard = jsonl(tmp_path / "a.jsonl", [{"q": "why", "good": "because", "bad": "no", "by": 0.5}])
    mapping = "preferences, mapping: {prompt: q, chosen: good, rejected: bad, margin: by}}"
    (kept,) = rows(run(tmp_path, PAIRS.replace("preferences}", mapping), shard), "corpus")
    assert kept["margin"] == 0.5 and kept["chosen"][0]["content"] == "because"


def test_masking_reaches_each_side_and_no_role(tmp_path: Path) -> None:
    shard = jsonl(tmp_path / "a.jsonl", [pair("Write to ann@mill.org", "I wrote to bob@mill.org", "No. eve@mill.org")])
    (kept,) = rows(run(tmp_path, SIDES, shard), "corpus")
    said = json.dumps(kept)
    assert "@mill.org" not in said and kept["license"] == "MIT" and kept["source"] == "hh" and kept["language"] == "en"
    assert [turn["role"] for turn in kept["prompt"] + kept["chosen"]] == ["user", "assistant"]


def test_json_array_parquet_and_lines_say_the_same(tmp_path: Path) -> None:
    import pyarrow as pa

    records = [pair(f"question {n}", f"good answer {n}", f"bad one {n}") for n in range(50)]
    (tmp_path / "array.json").write_text(json.dumps(records, indent=1))
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(json.dumps(records).encode()))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "table.parquet")
    jsonl(tmp_path / "lines.jsonl", records)
    expected = [(r["prompt"], r["chosen"], r["rejected"]) for r in records]
    for name in ("array.json", "packed.json.gz", "table.parquet", "lines.jsonl"):
        found = rows(run(tmp_path, PAIRS, tmp_path / name, name=f"out-{name}"), "corpus")
        assert [
            tuple(row[side][0]["content"] for side in ("prompt", "chosen", "rejected")) for row in found
        ] == expected


def test_real_sets_reconcile_and_load(real_data: Path, tmp_path: Path) -> None:
    """Counts as published by hand rules over the same files: see tests/preferences for where they come from."""
    import datasets

    output = run(tmp_path, PAIRS, *sorted((real_data / "preferences").iterdir()), workers=2)
    ledger = rows(output)
    records = {(row["shard"], row["offset"]) for row in ledger}
    lines = 0
    for path in (real_data / "preferences").iterdir():
        data = gzip.decompress(path.read_bytes())
        lines += len(json.loads(data)) if ".json." in path.name else data.count(b"\n")
    assert len(records) == lines  # nothing lost
    pairs = [row for row in ledger if row["entry_count"]]
    assert len(pairs) == 1512 + 300 + 300 + 1161 + 888 + 789 + 1019 + 1
    assert Counter(row["rule"] for row in ledger if row["kind"] == "kto") == {
        "no-counterpart": 298, "in-pair": 1, None: 1,
    }  # fmt: skip
    loaded = datasets.load_dataset("parquet", data_files=f"{output}/corpus/*.parquet", split="train",
                                   cache_dir=str(tmp_path / "cache"))  # fmt: skip
    assert set(loaded["pair_id"]) == {row["id"] for row in ledger if row["verdict"] == "kept"}
    assert all(turns[-1]["role"] == "assistant" for turns in loaded["chosen"])


def test_instructions_of_real_sets(real_data: Path, tmp_path: Path) -> None:
    output = run(tmp_path, INSTRUCTIONS, *sorted((real_data / "sft").glob("*demo.json.gz")), workers=2)
    assert len(rows(output)) == 999 + 1000 + 300 + 300
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows(output, "corpus"))


def test_any_number_of_workers_gives_the_same_bytes(real_data: Path, tmp_path: Path) -> None:
    inputs = sorted((real_data / "preferences").glob("dpo*"))
    first, second = (run(tmp_path, PAIRS, *inputs, workers=n, name=f"w{n}") for n in (1, 2))
    assert tree(first) == tree(second)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PAIRS.replace("stage: pair", "stage: extraction"), "the first stage must be 'pair'"),
        (PAIRS.replace("preferences}", "preferences, shape: nonsense}"), "unknown shape 'nonsense'"),
        (PAIRS.replace("preferences}", "preferences, mapping: {prompt: a}}"), "a mapping names"),
        (PAIRS.replace("preferences}", "preferences, mapping: {promt: a}}"), "a mapping has no 'promt'"),
        (PAIRS + "deduplication: {threshold: 0.8}\n", "not by 'deduplication'"),
        (SIDES.replace("[prompt, chosen, rejected]", "[prompt, response]"), "there is no side 'response'"),
        (PAIRS.replace("kind: preferences", "kind: pears"), "'preferences' or 'instructions'"),
    ],
)  # fmt: skip
def test_recipes_that_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_recipe(write_recipe(tmp_path, text))


def test_two_versions_in_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    counts = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        some = [pair(f"{number} {n}?", "Yes, it is.", "No, it is not.") for n in range(number)]
        output = run(folder, PAIRS, jsonl(folder / "a.jsonl", some), name="v")
        counts.append(len(datasets.load_dataset(str(output), split="train", cache_dir=str(tmp_path / "cache"))))
    assert counts == [1, 2]
