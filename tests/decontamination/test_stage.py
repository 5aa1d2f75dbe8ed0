"""The stage in recipes and in runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curation.batch import Batch
from curation.decontamination import Decontamination, DecontaminationParameters
from curation.errors import InputError
from curation.stage import decide
from pipelines.recipe import load_recipe, recipe_faults
from pipelines.thresholds import adjustable
from tests.support.corpus import chinese, english, write_jsonl
from tests.support.runs import gristmill, rows, run_recipe, tree, write_recipe

QUESTION = (
    "A miller grinds three sacks of barley before noon and twice as many sacks of rye after it. "
    "How many sacks of grain does the miller grind in five days?"
)
CHOICE = {"Question": "磨坊主人每天上午磨三袋大麦，下午磨两倍的黑麦，五天一共磨多少袋粮食？"}
CHOICE |= {"A": "四十五袋", "B": "三十袋", "C": "十五袋", "D": "六十袋"}
COLUMNS = ["contamination_ratio", "contamination_ngrams", "contamination_item", "contamination_span"]
RECIPE = """
name: clean
stages:
  - stage: extraction
  - stage: language
    keep: [en, zh]
    min_score: 0.1
  - stage: decontamination
    benchmarks:
      sums: benchmarks/sums.jsonl
      choices: {path: benchmarks/choices.jsonl.gz}
limits:
  max_quarantined_share: null
"""


def choice_lines() -> str:
    """The answers as a page shows them."""
    return "\n" + "\n".join(f"{letter}、{CHOICE[letter]}" for letter in "ABCD")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with benchmarks below it."""
    (tmp_path / "benchmarks").mkdir()
    sums = [{"question": f"{english(900 + number)}", "answer": "x"} for number in range(3)]
    write_jsonl(tmp_path / "benchmarks" / "sums.jsonl", [*sums, {"question": QUESTION, "answer": "45"}])
    write_jsonl(tmp_path / "benchmarks" / "choices.jsonl.gz", [CHOICE])
    return tmp_path


@pytest.fixture
def shard(folder: Path) -> Path:
    """Clean documents, one with an English item, one with a Chinese item, one with two fifths of one."""
    words = QUESTION.split()
    texts = [english(seed) for seed in range(4)] + [chinese(seed) for seed in range(4)]
    texts += [
        f"{english(10)}\n\n{QUESTION.upper()}\n\n{english(11)}",
        f"{chinese(10)}\n{CHOICE['Question']}{choice_lines()}\n{chinese(11)}",
    ]
    texts.append(f"{english(12)} {' '.join(words[: len(words) * 5 // 8])} … {english(13)}")
    return write_jsonl(folder / "shard.jsonl", [{"text": text} for text in texts])


def stage_of(folder: Path, **given: Any) -> Decontamination:
    files = {"sums": "benchmarks/sums.jsonl", "choices": "benchmarks/choices.jsonl.gz"}
    parameters = DecontaminationParameters.model_validate({"benchmarks": files, **given})
    return Decontamination(parameters.resolved(folder))


def measured(stage: Decontamination, texts: list[str | None]) -> list[dict]:
    table = pa.table({"text": pa.array(texts, pa.large_string())})
    columns = stage.measure(Batch(table)).columns
    assert {name: column.type for name, column in columns.items()} == {f.name: f.type for f in stage.schema}
    return pa.table(columns).to_pylist()


def test_columns(folder: Path) -> None:
    text = f"{english(1)} {QUESTION}"
    whole, nothing, empty, null = measured(stage_of(folder), [text, "Nothing of the kind.", "", None])
    assert whole == dict(zip(COLUMNS, [1.0, 17, "sums:3", f"{len(english(1)) + 3}:{len(text) - 1}"], strict=True))
    assert nothing == empty == null == dict(zip(COLUMNS, [0.0, 0, None, None], strict=True))
    assert measured(stage_of(folder), []) == []


def test_batches_do_not_matter(folder: Path) -> None:
    stage = stage_of(folder)
    texts = [english(1), QUESTION, None, chinese(3), f"{QUESTION} {english(4)}", CHOICE["Question"]]
    assert [row for text in texts for row in measured(stage, [text])] == measured(stage, texts)


def test_the_threshold_by_language(folder: Path) -> None:
    stage = stage_of(folder, min_overlap={"default": 0.5, "zh": 0.9, "de": None})
    ratios = pa.array([0.49, 0.5, 0.89, 0.9, 1.0])
    languages = pa.array(["en", "en", "zh", "zh", "de"])
    decision = decide(stage.rules(), {"contamination_ratio": ratios, "language": languages}, 5)
    assert decision.failing.tolist() == [[False, True, False, True, False]]


def test_facts_are_digests_not_places(folder: Path) -> None:
    stage = stage_of(folder)
    (folder / "other").mkdir()
    moved = (folder / "benchmarks" / "sums.jsonl").rename(folder / "other" / "x.jsonl")
    files = {"sums": "other/x.jsonl", "choices": "benchmarks/choices.jsonl.gz"}
    assert stage_of(folder, benchmarks=files).facts() == stage.facts()
    assert {name for name in stage.facts() if name.startswith("benchmark.")} == {"benchmark.sums", "benchmark.choices"}
    write_jsonl(moved, [{"question": QUESTION, "answer": "46"}])
    assert stage_of(folder, benchmarks=files).facts() != stage.facts()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"benchmarks": {}}, "at least 1 item"),
        ({"benchmarks": {"a:b": "x"}}, "the name of a benchmark"),
        ({"benchmarks": {"": "x"}}, "the name of a benchmark"),
        ({"benchmarks": {"a": {"path": "x", "fields": []}}}, "name at least one field"),
        ({"benchmarks": {"a": {"path": "x", "fields": [["b"], []]}}}, "name at least one field"),
        ({"benchmarks": {"a": {"path": "x", "fields": ["b", 3]}}}, "fields"),
        ({"benchmarks": {"a": {"path": "x", "field": "b"}}}, "field"),
        ({"benchmarks": {"a": 3}}, "a"),
        ({"min_overlap": 0}, "above 0, at most 1"),
        ({"min_overlap": {"zh": 1.5}}, "above 0, at most 1"),
        ({"min_overlap": -1}, "at least 0"),
        ({"ngram": 1}, "greater than or equal to 2"),
        ({"unspaced_ngram": 65}, "less than or equal to 64"),
        ({"min_words": 14, "unspaced_ngram": 20}, "min_words is no more than ngram"),
        ({"min_ngrams": 0}, "greater than or equal to 1"),
        ({"max_items": 0}, "greater than or equal to 1"),
        ({"n": 3}, "Extra inputs"),
    ],
)
def test_wrong_parameters(given: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DecontaminationParameters.model_validate({"benchmarks": {"a": "x"}, **given})


def test_a_benchmark_of_short_texts_is_refused(folder: Path) -> None:
    write_jsonl(folder / "benchmarks" / "sums.jsonl", [{"word": "only"}, {"word": "a few words"}])
    with pytest.raises(InputError, match="benchmark 'sums': no item has 8 words"):
        stage_of(folder)


def test_a_recipe_names_file_and_line(folder: Path, shard: Path) -> None:
    write_jsonl(folder / "benchmarks" / "sums.jsonl", [{"question": QUESTION, "answer": "45"}, "{oops"])
    with pytest.raises(InputError, match=r"sums\.jsonl:2: benchmark 'sums', line 2: not JSON"):
        load_recipe(write_recipe(folder, RECIPE))
    done = gristmill("run", folder / "recipe.yaml", shard, "--output", folder / "out", check=2)
    assert "sums.jsonl:2" in done.stdout + done.stderr and "Traceback" not in done.stderr
    with pytest.raises(InputError, match="benchmark 'sums': there is no such file"):
        load_recipe(write_recipe(folder, RECIPE.replace("sums.jsonl", "nothing.jsonl")))
    with pytest.raises(InputError, match=r"recipe\.yaml:11:.*name at least one field"):
        load_recipe(write_recipe(folder, RECIPE.replace("choices.jsonl.gz}", "choices.jsonl.gz, fields: []}")))


def recipe_with(benchmarks: Any) -> dict[str, Any]:
    stages = [{"stage": "extraction"}, {"stage": "decontamination", "benchmarks": benchmarks}]
    return {"name": "r", "stages": stages}


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.jsonl", "link.jsonl", "a/../../outside.jsonl", "."])
def test_strangers_benchmarks_lie_below_the_models(folder: Path, path: str) -> None:
    root = folder / "models"
    root.mkdir()
    write_jsonl(folder / "outside.jsonl", [{"question": QUESTION, "answer": "secret"}])
    (root / "link.jsonl").symlink_to(folder / "outside.jsonl")
    write_jsonl(root / "inside.jsonl", [{"question": QUESTION, "answer": "45"}])
    assert recipe_faults(recipe_with({"b": "inside.jsonl"}), root, confined=True) == []
    for given in (path, {"path": path}):
        (fault,) = recipe_faults(recipe_with({"ok": "inside.jsonl", "b": given}), root, confined=True)
        assert "below the folder of models" in fault.message
        assert fault.path[:4] == ("stages", 1, "benchmarks", "b")


def test_a_stranger_learns_the_line_but_not_the_place(folder: Path) -> None:
    root = folder / "models"
    root.mkdir()
    for content, said in (('{"question": 1}', "line 1"), ("secret", "line 1"), ("", "empty")):
        (root / "bad.jsonl").write_text(content)
        (fault,) = recipe_faults(recipe_with({"b": {"path": "bad.jsonl", "fields": ["question"]}}), root, confined=True)
        assert said in fault.message and str(folder) not in fault.message and "secret" not in fault.message


def test_a_run(folder: Path, shard: Path) -> None:
    recipe = write_recipe(folder, RECIPE)
    output = folder / "out"
    gristmill("run", recipe, shard, "--output", output, "--quiet")
    ledger = rows(output)
    gone = [row for row in ledger if row["rule"] == "contaminated"]
    assert [row["verdict"] for row in ledger].count("kept") == 8 and len(ledger) == 11
    assert [row["contamination_item"] for row in gone] == ["sums:3", "choices:0", "sums:3"]
    assert [row["detail"] for row in gone] == [row["contamination_item"] for row in gone]
    assert [row["value"] for row in gone] == [1.0, 1.0, pytest.approx(5 / 17)]
    assert all(row["threshold"] == 0.2 and row["stage"] == "decontamination" for row in gone)
    texts = [json.loads(line)["text"] for line in shard.read_text().splitlines()][8:]
    spans = [map(int, row["contamination_span"].split(":")) for row in gone]
    first, second, _ = (text[slice(*span)] for text, span in zip(texts, spans, strict=True))
    assert first == QUESTION.upper()[2:-1] and second == f"{CHOICE['Question']}{choice_lines()}"
    shown = gristmill("inspect", output, "--reason", "contaminated").stdout
    assert shown.count("sums:3") == 2 and "choices:0" in shown
    gristmill("verify", output)

    gristmill("run", recipe, shard, "--output", folder / "again", "--quiet")
    assert tree(folder / "again") == tree(output)


def test_another_threshold_measures_nothing_again(folder: Path, shard: Path) -> None:
    output = folder / "out"
    run_recipe(write_recipe(folder, RECIPE), [shard], output)
    changed = RECIPE.replace("    benchmarks:", "    min_overlap: {default: 0.5, zh: null}\n    benchmarks:")
    again = run_recipe(write_recipe(folder, changed, "changed.yaml"), [shard], output)
    assert set(again.computed) == {"sketch"}
    assert [row["contamination_item"] for row in rows(output) if row["rule"] == "contaminated"] == ["sums:3"]
    other = RECIPE.replace("    benchmarks:", "    ngram: 12\n    benchmarks:")
    assert "decontamination" in run_recipe(write_recipe(folder, other, "other.yaml"), [shard], output).computed


def test_the_threshold_can_be_set_from_outside(folder: Path) -> None:
    recipe = load_recipe(write_recipe(folder, RECIPE))
    assert adjustable(recipe)["decontamination.contaminated"] == ("decontamination", "min_overlap")
