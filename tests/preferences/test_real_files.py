"""Real files, read whole; what must come out is counted with nothing but json and rules by hand."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from curation.errors import DocumentError
from curation.preferences import (
    BY_NAME,
    ColumnMapping,
    Comparison,
    Instruction,
    Pair,
    Ranking,
    pair_unpaired,
    pairs_of,
    read_mapped,
    read_record,
    read_unpaired,
    recognise,
)
from curation.preferences.transcripts import join_transcript
from tests.preferences.files import load


def read_all(records: list[dict[str, Any]], shape: str) -> tuple[list[Any], Counter[str]]:
    """Entries in the order of the records, None where there is an error; and errors by class."""
    entries: list[Any] = []
    errors: Counter[str] = Counter()
    for record in records:
        assert recognise(record) is BY_NAME[shape]
        try:
            entries.append(read_record(record, BY_NAME[shape]))
        except DocumentError as error:
            entries.append(None)
            errors[error.error_class] += 1
    assert len(records) == sum(entry is not None for entry in entries) + errors.total()
    return entries, errors


def test_hh_rlhf(real_data: Path) -> None:
    records = load(real_data / "preferences/hh-rlhf-harmless-test.jsonl.gz")
    entries, errors = read_all(records, "hh-rlhf")
    assert len(entries) == 1512 and not errors
    for record, entry in zip(records, entries, strict=True):
        assert join_transcript(entry.prompt + entry.chosen) == record["chosen"]
        assert join_transcript(entry.prompt + entry.rejected) == record["rejected"]
        assert entry.prompt[-1].role == "user" and entry.chosen != entry.rejected
    empty = [i for i, r in enumerate(records) if any(r[k].endswith("\n\nAssistant: ") for k in ("chosen", "rejected"))]
    assert empty == [53, 341, 720]
    assert [i for i, e in enumerate(entries) if not e.chosen[-1].content or not e.rejected[-1].content] == empty
    last = "\n\nAssistant:"
    early = [i for i, r in enumerate(records) if r["chosen"].rpartition(last)[0] != r["rejected"].rpartition(last)[0]]
    assert early == [1103, 1277, 1335]
    assert [i for i, e in enumerate(entries) if len(e.chosen) > 1 or len(e.rejected) > 1] == early


@pytest.mark.parametrize(("file", "with_system"), [("dpo-en-demo", 80), ("dpo-zh-demo", 64)])
def test_sharegpt_preference(real_data: Path, file: str, with_system: int) -> None:
    records = load(real_data / f"preferences/{file}.json.gz")
    entries, errors = read_all(records, "sharegpt-preference")
    assert len(entries) == 300 and not errors
    for record, entry in zip(records, entries, strict=True):
        assert [m.content for m in entry.prompt] == [turn["value"] for turn in record["conversations"]]
        assert [m.content for m in entry.chosen + entry.rejected] == [
            record[s]["value"] for s in ("chosen", "rejected")
        ]
    assert sum(entry.prompt[0].role == "system" for entry in entries) == with_system


def test_openassistant_rankings(real_data: Path) -> None:
    records = load(real_data / "preferences/openassistant-ranked-zh.json.gz")
    entries, errors = read_all(records, "alpaca-ranking")
    assert len(entries) == 481 and not errors
    counts = [len(record["output"]) for record in records]
    assert sum(len(pairs_of(entry)) for entry in entries) == sum(k * (k - 1) // 2 for k in counts) == 1161
    assert sum(len(pairs_of(entry, "adjacent")) for entry in entries) == sum(counts) - 481
    assert sum(len(pairs_of(entry, "best-worst")) for entry in entries) == 481
    same = sum(pair.chosen == pair.rejected for entry in entries for pair in pairs_of(entry))
    assert same == sum(a == b for record in records for a, b in combinations(record["output"], 2)) == 5
    for record, entry in zip(records, entries, strict=True):
        assert isinstance(entry, Ranking) and len(entry.prompt) == 2 * len(record["history"]) + 1
        assert [response[0].content for response in entry.responses] == record["output"]


def test_pandalm(real_data: Path) -> None:
    records = load(real_data / "preferences/pandalm-human-en.json.gz")
    entries, errors = read_all(records, "pandalm")
    odd = [
        i for i, r in enumerate(records) if not isinstance(r["response1"], str) or not isinstance(r["response2"], str)
    ]
    assert odd == [i for i, entry in enumerate(entries) if entry is None] and errors == {"not-a-string": 6}
    pairs = ties = split = 0
    for record, entry in zip(records, entries, strict=True):
        if entry is None:
            continue
        labels = [record[f"annotator{n}"] for n in (1, 2, 3)]
        (winner, votes), *others = Counter(labels).most_common()
        found = pairs_of(entry)
        if winner == 0:
            ties += 1
            assert found == []
            continue
        pairs += 1
        split += bool(others)
        assert found[0].chosen[0].content == record[f"response{winner}"]
        assert found[0].margin == votes / 3
    assert (pairs, ties) == (888, 105) and pairs + ties + 6 == 999
    assert split == sum(pair.margin < 1 for entry in entries if entry for pair in pairs_of(entry) if pair.margin)


@pytest.mark.parametrize(
    ("file", "shape", "field", "sides", "pairs", "ties"),
    [
        (
            "alpaca-eval-alpaca7b-vs-davinci003.json.gz",
            "alpaca-eval",
            "preference",
            {1: "output_1", 2: "output_2"},
            789,
            16,
        ),
        ("autoj-pairwise-en.jsonl.gz", "auto-j", "label", {0: "response 1", 1: "response 2"}, 1019, 373),
    ],
)
def test_labelled(
    real_data: Path, file: str, shape: str, field: str, sides: dict[int, str], pairs: int, ties: int
) -> None:
    records = load(real_data / "preferences" / file)
    entries, errors = read_all(records, shape)
    assert not errors
    by_label = Counter(record[field] in sides for record in records)
    assert (by_label[True], by_label[False]) == (pairs, ties)
    for record, entry in zip(records, entries, strict=True):
        assert isinstance(entry, Comparison)
        chosen = [pair.chosen[0].content for pair in pairs_of(entry)]
        assert chosen == ([record[sides[record[field]]]] if record[field] in sides else [])


def test_kto(real_data: Path) -> None:
    records = load(real_data / "preferences/kto-en-demo.json.gz")
    _, errors = read_all(records, "kto")
    assert errors == {"unpaired": 300}
    entries = [read_unpaired(record) for record in records]
    assert sum(entry.good for entry in entries) == 150
    labels: dict[str, list[bool]] = {}
    for record in records:
        labels.setdefault(str(record["messages"][:-1]), []).append(record["label"])
    expected = sum(min(sum(given), len(given) - sum(given)) for given in labels.values())
    pairs, left = pair_unpaired(entries)
    assert len(pairs) == expected == 1 and 2 * len(pairs) + len(left) == 300


ALPACA = {
    "alpaca-en-00000-15323.json.gz": (15323, {}),
    "alpaca-en-demo.json.gz": (999, {}),
    "alpaca-zh-00000-09407.json.gz": (9251, {}),
    "alpaca-zh-demo.json.gz": (1000, {}),
    "alpaca-zh-other-translation.json.gz": (4000, {}),
    "code-questions-zh.json.gz": (9057, {}),
    "huatuo-medical-zh.jsonl.gz": (8658, {}),
    "identity.json.gz": (91, {}),
    "openassistant-sft-zh.json.gz": (474, {}),
    "various-zh.json.gz": (1225, {"empty-prompt": 1}),
}


@pytest.mark.parametrize("file", ALPACA)
def test_alpaca(real_data: Path, file: str) -> None:
    records = load(real_data / "sft" / file)
    entries, errors = read_all(records, "alpaca")
    assert (len(entries), dict(errors)) == ALPACA[file]
    blank = sum(not record["instruction"].strip() and not record.get("input", "").strip() for record in records)
    assert errors.total() == blank
    for record, entry in zip(records, entries, strict=True):
        if entry is None:
            continue
        assert isinstance(entry, Instruction) and len(entry.messages) == 2 * len(record.get("history") or []) + 2
        asked, answer = entry.messages[-2:]
        assert answer.content == record["output"]
        if not record.get("input"):
            assert asked.content == record["instruction"]
        else:
            assert asked.content.endswith(record["input"])


@pytest.mark.parametrize(
    ("file", "unanswered"),
    [("sharegpt-zh-1k.jsonl.gz", 7), ("glaive-toolcall-en-demo.json.gz", 0), ("glaive-toolcall-zh-demo.json.gz", 0)],
)
def test_sharegpt(real_data: Path, file: str, unanswered: int) -> None:
    records = load(real_data / "sft" / file)
    entries, errors = read_all(records, "sharegpt")
    last = [record["conversations"][-1]["from"] for record in records]
    assert last.count("human") == unanswered == errors.total() == errors["missing-response"]
    roles = {"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool"}
    for record, entry in zip(records, entries, strict=True):
        if entry is None:
            continue
        turns = [(roles[turn["from"]], turn["value"]) for turn in record["conversations"]]
        assert [(m.role, m.content) for m in entry.messages] == turns
        assert entry.tools == (None if record.get("tools", "[]") == "[]" else record["tools"])


def test_seed_tasks(real_data: Path) -> None:
    records = load(real_data / "sft/seed-tasks-en.jsonl.gz")
    path = "instances.0."
    mapping = ColumnMapping(prompt="instruction", input=path + "input", response=path + "output", id="id")
    entries = [read_mapped(record, mapping) for record in records]
    assert len(entries) == 175 and {len(record["instances"]) for record in records} == {1}
    assert [entry.source_id for entry in entries] == [record["id"] for record in records]
    assert all(recognise(record) is None for record in records)


def test_every_file_is_read(real_data: Path) -> None:
    """A file that is new here needs a test."""
    known = {*ALPACA, "sharegpt-zh-1k.jsonl.gz", "seed-tasks-en.jsonl.gz"}
    known |= {"glaive-toolcall-en-demo.json.gz", "glaive-toolcall-zh-demo.json.gz"}
    assert {path.name for path in (real_data / "sft").iterdir()} == known
    assert len(list((real_data / "preferences").iterdir())) == 8


def test_pairs_have_one_form(real_data: Path) -> None:
    """Whatever the shape, the same things hold of all pairs."""
    for path in sorted((real_data / "preferences").iterdir()):
        for record in load(path)[::7]:
            try:
                entry = read_record(record)
            except DocumentError:
                continue
            assert isinstance(entry, Pair | Ranking | Comparison)
            for pair in pairs_of(entry):
                assert pair.prompt[-1].role == "user"
                assert {pair.chosen[0].role, pair.rejected[-1].role} == {"assistant"}
