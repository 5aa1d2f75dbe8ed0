"""Real files; what must come out is counted with nothing but json and rules by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation.batch import Batch
from curation.errors import DocumentError
from curation.pair_stages import FlaggedWords, Instruction, Pair, PromptLeak, Refusals, Truncation, dump, sided
from curation.personal_data import PersonalData
from curation.personal_data.mask import mask_emails, mask_ips
from curation.preferences import pairs_of, read_record
from curation.stage import decide
from tests.pair_stages.build import all_columns, batch_of, rows
from tests.pair_stages.twins import copied, jaccard, seen
from tests.preferences.files import load


def pair_batch(path: Path) -> Batch:
    pairs = [pair for record in load(path) for pair in pairs_of(read_record(record))]  # type: ignore[arg-type]
    texts = [dump({"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected}) for one in pairs]
    return batch_of(texts, margin=pa.array([one.margin for one in pairs], pa.float64()))


def instruction_batch(path: Path) -> Batch:
    entries = [read_record(record) for record in load(path)]
    return batch_of([dump({"prompt": one.messages[:-1], "response": one.messages[-1:]}) for one in entries])  # type: ignore[union-attr]


def sides(batch: Batch) -> list[dict[str, str]]:
    """The texts of the sides, taken out by hand."""
    found = []
    for text in batch.text.to_pylist():
        value = json.loads(text)
        if "messages" in value:
            value = {"prompt": value["messages"][:-1], "response": value["messages"][-1:]}
        found.append({side: "\n\n".join(turn["content"] for turn in turns) for side, turns in value.items()})
    return found


def failing_rows(stage: Any, batch: Batch, rule: str) -> list[int]:
    place = [one.name for one in stage.rules()].index(rule)
    decision = decide(stage.rules(), all_columns(batch) | stage.measure(batch).columns, len(batch))
    return [row for row in range(len(batch)) if decision.failing[place, row]]


@pytest.mark.parametrize("name", ["hh-rlhf-harmless-test.jsonl", "dpo-zh-demo.json", "openassistant-ranked-zh.json"])
def test_pairs(real_data: Path, name: str) -> None:
    batch = pair_batch(real_data / f"preferences/{name}.gz")
    stage, texts = Pair(Pair.Parameters()), sides(batch)
    measured = rows(stage, batch)
    assert stage.measure(batch).text.equals(batch.text)  # type: ignore[union-attr]
    for side in ("prompt", "chosen", "rejected"):
        empty = [row for row, text in enumerate(texts) if not text[side].strip()]
        assert failing_rows(stage, batch, f"empty-{side}") == empty
    equal = [row for row, text in enumerate(texts) if seen(text["chosen"]) == seen(text["rejected"])]
    assert failing_rows(stage, batch, "equal-responses") == equal
    exact = [jaccard(text["chosen"], text["rejected"]) for text in texts]
    assert [row["responses_jaccard"] for row in measured] == [float(value) for value in exact]
    similar = Pair(Pair.Parameters(max_jaccard=0.95))
    assert failing_rows(similar, batch, "similar-responses") == [i for i, value in enumerate(exact) if 20 * value > 19]
    assert not failing_rows(stage, batch, "small-margin")


def test_empty_answers_of_hh_rlhf(real_data: Path) -> None:
    batch = pair_batch(real_data / "preferences/hh-rlhf-harmless-test.jsonl.gz")
    assert failing_rows(Pair(Pair.Parameters()), batch, "empty-chosen") == [53, 341, 720]


@pytest.mark.parametrize("name", ["alpaca-eval-alpaca7b-vs-davinci003.json", "dpo-zh-demo.json"])
def test_copies(real_data: Path, name: str) -> None:
    batch = pair_batch(real_data / f"preferences/{name}.gz")
    stage = PromptLeak(PromptLeak.Parameters())
    for text, row in list(zip(sides(batch), rows(stage, batch), strict=True))[:150]:
        words, covered, longest = copied(text["prompt"], text["chosen"], 8, 13)
        assert row["chosen_copy_ratio"] == (covered / words if words else None)
        assert row["chosen_copied_words"] == longest


def test_placeholders(real_data: Path) -> None:
    batch = instruction_batch(real_data / "sft/alpaca-en-00000-15323.json.gz")
    texts = [text["response"] for text in sides(batch)]
    by_hand = [row for row, text in enumerate(texts) if "<noinput>" in text or "<nooutput>" in text]
    stage = PromptLeak(PromptLeak.Parameters(sides=("response",)))
    found = failing_rows(stage, batch, "response-template-residue")
    assert len(by_hand) > 20
    assert set(found) == set(by_hand) - {9100}  # an answer about <noinput>, as was asked


@pytest.mark.parametrize(
    ("folder", "name", "names"),
    [
        ("preferences", "hh-rlhf-harmless-test.jsonl", ("prompt", "chosen", "rejected")),
        ("preferences", "autoj-pairwise-en.jsonl", ("prompt", "chosen", "rejected")),
        ("sft", "sharegpt-zh-1k.jsonl", ("prompt", "response")),
    ],
)
def test_masking(real_data: Path, folder: str, name: str, names: tuple[str, ...]) -> None:
    path = real_data / folder / f"{name}.gz"
    batch = pair_batch(path) if folder == "preferences" else readable(path)
    cls = sided(PersonalData)
    result = cls(cls.Parameters(sides=names)).measure(batch)
    assert not result.errors and result.text is not None
    changed = 0
    for before, after in zip(batch.text.to_pylist(), result.text.to_pylist(), strict=True):
        changed += before != after
        for side, turns in json.loads(before).items():
            masked = [
                mask_ips(mask_emails(turn["content"], "email@example.com")[0], "192.0.2.1", "2001:db8::1")[0]
                for turn in turns
            ]
            assert [turn["content"] for turn in json.loads(after)[side]] == masked
            assert [turn["role"] for turn in json.loads(after)[side]] == [turn["role"] for turn in turns]
    counted = [sum(values) for values in zip(*(column.to_pylist() for column in result.columns.values()), strict=True)]
    assert changed == sum(count > 0 for count in counted) > 0


def by_hand(text: str) -> str:
    return mask_ips(mask_emails(text, "email@example.com")[0], "192.0.2.1", "2001:db8::1")[0]


def readable(path: Path) -> Batch:
    """The instructions of a file in which some records are in error."""
    texts = []
    for record in load(path):
        try:
            one = read_record(record)
        except DocumentError:
            continue
        texts.append(dump({"prompt": one.messages[:-1], "response": one.messages[-1:]}))  # type: ignore[union-attr]
    return batch_of(texts)


def test_every_stage_takes_every_instruction(real_data: Path) -> None:
    for path in sorted((real_data / "sft").glob("*demo*.gz")):
        batch = instruction_batch(path)
        for stage in (
            Instruction(Instruction.Parameters()),
            Refusals(Refusals.Parameters(sides=("response",))),
            Truncation(Truncation.Parameters(sides=("response",))),
            FlaggedWords(FlaggedWords.Parameters(sides=("response",))),
        ):
            assert not stage.measure(batch).errors and len(rows(stage, batch)) == len(batch)
