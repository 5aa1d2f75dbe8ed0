"""Decisions taken again, against a plain twin: rows as dictionaries, rules one after the other."""

from __future__ import annotations

import operator
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from pipelines.deduplication.order import _keys
from pipelines.look import FinishedRun
from pipelines.remembered import remembered_stages
from pipelines.what_if.answer import what_if
from pipelines.what_if.codes import Codes
from pipelines.what_if.decisions import kept_ids, undetermined_ids
from pipelines.what_if.ledger_only import decided
from pipelines.what_if.order import ranks
from pipelines.what_if.question import ask
from pipelines.what_if.records import Records
from tests.support.corpus import chinese, english, write_jsonl
from tests.support.runs import rows, run_recipe, write_recipe

RECIPE = """name: twin
stages:
  - stage: extraction
  - stage: gopher-quality
    min_words: {default: 60, zh: 100}
    min_mean_word_length: 3.5
  - stage: language
    keep: [en, zh]
    min_score: 0.6
  - stage: fineweb
    min_line_punctuation: 0.2
    max_short_lines: 0.5
deduplication: {memory_mib: 16}
limits: {max_quarantined_share: null}
"""
COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "==": operator.eq}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of all kinds: short, long, in three languages, empty, broken, with short lines, repeated."""
    folder = tmp_path_factory.mktemp("twin")
    rng = random.Random(3)
    documents: list[dict | str] = []
    for number in range(150):
        text = english(number, 4 * rng.randint(1, 6)) if rng.random() < 0.7 else chinese(number, rng.randint(3, 20))
        if rng.random() < 0.3:
            text = "\n".join(text[at : at + 25] for at in range(0, len(text), 25))
        documents.append({"text": text})
        if rng.random() < 0.3:
            documents.append({"text": text if rng.random() < 0.5 else text + " One more sentence."})
    documents += [{"text": "Der Müller trug die Säcke über den Hof. " * rng.randint(2, 20)} for _ in range(10)]
    documents += ["{ broken", {"text": ""}, {"text": "a an the " * 40}]
    rng.shuffle(documents)
    shards = [write_jsonl(folder / f"s{number}.jsonl", documents[number::2]) for number in (0, 1)]
    run_recipe(write_recipe(folder, RECIPE), shards, folder / "out")
    return folder / "out"


def limit(thresholds: dict[str, Any], language: str) -> float | None:
    return thresholds[language] if language in thresholds else thresholds.get("default")


def twin(
    row: dict[str, Any], stages: list[dict[str, Any]], asked: dict[str, Any]
) -> tuple[str, str | None, str | None]:
    """What becomes of one row of the ledger."""
    language = "und"
    for number, stage in enumerate(stages):
        if "language" in stage["columns"]:
            language = row["language"] or "und"
        if stage["stage"] == row["stage"] and row["verdict"] == "quarantined":
            break
        for rule in stage["rules"]:
            thresholds = asked.get(f"{stage['stage']}.{rule['name']}", rule["thresholds"])
            if not isinstance(thresholds, dict):
                thresholds = {"default": thresholds}
            bound, value = limit(thresholds, language), row[rule["measure"]]
            if bound is not None and value is not None and not COMPARE[rule["comparison"]](float(value), bound):
                return "dropped", stage["stage"], rule["name"]
        if stage["stage"] == row["stage"]:
            return "undetermined", stages[number + 1]["stage"], None
    return row["verdict"], row["stage"], row["rule"]


LANGUAGES = st.sampled_from(["default", "en", "zh", "de", "und"])
THRESHOLDS = st.fixed_dictionaries(
    {},
    optional={
        "read.not-sampled": st.sampled_from([0.0, 0.5, 1.0, None]),
        "gopher-quality.few-words": st.one_of(
            st.none(),
            st.integers(0, 200),
            st.dictionaries(
                st.sampled_from(["default", "en", "zh", "de", "und"]), st.one_of(st.none(), st.integers(0, 200))
            ),
        ),
        "gopher-quality.many-words": st.integers(50, 300),
        "gopher-quality.short-words": st.floats(0, 6),
        "gopher-quality.few-stop-words": st.one_of(st.none(), st.integers(0, 40)),
        "language.language-not-kept": st.none(),
        "language.language-score": st.one_of(st.floats(0, 1), st.dictionaries(LANGUAGES, st.floats(0, 1))),
        "fineweb.short-lines": st.floats(0, 1),
        "fineweb.line-punctuation": st.dictionaries(
            st.sampled_from(["default", "en", "zh"]), st.one_of(st.none(), st.floats(0, 1))
        ),
    },
)


@settings(max_examples=150)
@given(thresholds=THRESHOLDS)
def test_as_one_row_after_the_other(thresholds: dict[str, Any], output: Path) -> None:
    run = FinishedRun(str(output))
    stages = remembered_stages(run.run)
    records = Records(run, stages)
    after = records.decided_again(ask(stages, records.schema, thresholds))
    found = [records.reasons[code] for code in after]
    expected = [twin(row, run.run["stages"], thresholds) for row in rows(output)]
    assert [(reason.verdict, reason.stage or None, reason.rule or None) for reason in found] == expected


def test_samples_tell_what_decides(output: Path) -> None:
    run = FinishedRun(str(output))
    asked = {"fineweb.short-lines": 0.1, "gopher-quality.few-words": {"default": 80, "zh": None}}
    answer = what_if(run, asked, samples=4)
    ledger = {row["id"]: row for row in rows(output)}
    kept, unknown = set(kept_ids(run, asked)), set(undetermined_ids(run, asked))
    was = {id_ for id_, row in ledger.items() if row["verdict"] == "kept"}
    of_way = {"lost": was - kept, "gained": kept - was, "undetermined": unknown}
    for way, documents in answer.samples.items():
        ids = [row["id"] for row in documents]
        assert ids == sorted(ids) and len(ids) == min(4, len(of_way[way])) and set(ids) <= of_way[way]
    assert answer == what_if(run, asked, samples=4)
    for row in answer.samples["lost"] + answer.samples["gained"] + answer.samples["undetermined"]:
        before = ledger[row["id"]]
        assert {name: row["before"][name] for name in ("verdict", "stage", "rule", "value", "threshold")} == {
            name: before[name] for name in ("verdict", "stage", "rule", "value", "threshold")
        }
        assert row["text"] == run.texts([row["id"]]).get(row["id"])
        if row["after"]["rule"] == "short-lines":
            assert (row["after"]["value"], row["after"]["threshold"]) == (before["short_line_ratio"], 0.1)
    assert what_if(run, asked, samples=0).samples == {"lost": [], "gained": [], "undetermined": []}


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ({"fineweb.short-line": 0.5}, "did you mean 'fineweb.short-lines'?"),
        ({"short-lines": 0.5}, "there is no rule 'short-lines'"),
        ({"read.http-status": 404}, "compares with a fixed value"),
        ({"language.language-not-kept": 0.5}, "compares with a fixed value"),
        ({"fineweb.short-lines": "much"}, "fineweb.short-lines: "),
        ({"fineweb.short-lines": {"default": "much"}}, "fineweb.short-lines: "),
        ({"fineweb.short-lines": [1]}, "fineweb.short-lines: "),
        ({"fineweb.short-lines": -1}, "at least 0"),
        ({"fineweb.short-lines": float("nan")}, "at least 0"),
    ],
)
def test_questions_that_no_run_can_have(thresholds: dict[str, Any], said: str, output: Path) -> None:
    with pytest.raises(InputError) as error:
        what_if(FinishedRun(str(output)), thresholds)
    assert said in str(error.value)


def test_the_order_is_that_of_deduplication() -> None:
    rng = random.Random(5)
    numbers: list[float | None] = [0.0, -0.0, 1.5, -3.0, float("nan"), float("inf"), None, 7.0]
    table = pa.table(
        {
            "id": [rng.randbytes(16).hex() for _ in range(500)],
            "a": pa.array([rng.choice(numbers) for _ in range(500)], pa.float64()),
            "b": pa.array([rng.choice([1, 2, None]) for _ in range(500)], pa.int32()),
        }
    )
    for priority in ([("a", "ascending")], [("b", "descending"), ("a", "descending")], []):
        assert np.argsort(ranks(table, priority)).tolist() == np.argsort(_keys(table, priority), kind="stable").tolist()


CODES = Codes(kept=0, exact=1, near=2, unknown=3, dropped={})


def greedy(documents: list[int], text: list[int], pairs: set[tuple[int, int]]) -> dict[int, tuple[str, int | None]]:
    """Who stays, in the order of numbers: what happens, and the witness."""
    found: dict[int, tuple[str, int | None]] = {}
    first: dict[int, int] = {}
    for document in documents:
        kept = [other for other in documents if other < document and found[other][0] == "kept"]
        same = first.setdefault(text[document], document)
        near = [other for other in kept if (text[other], text[document]) in pairs]
        if same in kept:
            found[document] = ("exact", same)
        else:
            found[document] = ("near", near[0]) if near else ("kept", None)
    return found


@settings(max_examples=400)
@given(data=st.data())
def test_what_the_ledger_knows_of_duplicates(data: st.DataObject) -> None:
    """Any graph of texts: what is not called undetermined is what the greedy pass does without those that went."""
    texts = data.draw(st.integers(1, 6))
    text = data.draw(st.lists(st.integers(0, texts - 1), min_size=1, max_size=12))
    every = [(a, b) for a in range(texts) for b in range(a)]
    chosen = data.draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    pairs = {*chosen, *((b, a) for a, b in chosen)}
    number = list(range(len(text)))
    before = greedy(number, text, pairs)
    gone = set(data.draw(st.lists(st.sampled_from(number), unique=True)))
    left = [document for document in number if document not in gone]
    truth = greedy(left, text, pairs)

    component = list(range(texts))
    for _ in range(texts):
        for a, b in chosen:
            component[a] = component[b] = min(component[a], component[b])
    ids = [f"{document:032x}" for document in number]
    table = pa.table(
        {
            "id": pa.array([ids[d] for d in left], pa.string()),
            "witness": pa.array([None if (w := before[d][1]) is None else ids[w] for d in left], pa.string()),
            "witness_dataset": pa.nulls(len(left), pa.string()),
        }
    )
    if not left:
        return
    state = np.array([("kept", "exact", "near").index(before[d][0]) for d in left], np.int16)
    found = decided(table, np.array([component[text[d]] for d in left], np.uint64), state, CODES, [])
    for document, code in zip(left, found.tolist(), strict=True):
        if code != CODES.unknown:
            assert (code == CODES.kept) == (truth[document][0] == "kept")
    untouched = {component[text[d]] for d in gone if before[d][0] == "kept"}
    for document, code in zip(left, found.tolist(), strict=True):
        if component[text[document]] not in untouched:
            assert code == state[left.index(document)]
