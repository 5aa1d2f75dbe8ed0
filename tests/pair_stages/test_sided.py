"""Document stages on sides: the same as running them on the texts of the sides by hand."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curation.batch import Batch
from curation.errors import DocumentError
from curation.language import Language
from curation.pair_stages import dump, parse, sided, sides_of
from curation.perplexity import Perplexity
from curation.perplexity.fit import fit_perplexity
from curation.personal_data import PersonalData
from curation.rules import C4, GopherQuality, GopherRepetition
from curation.stage import Measured, Parameters, Rule, Stage, decide, measure_field
from tests.pair_stages.build import (
    INSTRUCTIONS,
    PAIRS,
    batch_of,
    canonical,
    failing,
    instruction,
    pair,
    rows,
    says,
)
from tests.support.corpus import english, write_jsonl


def make(stage: type[Stage], *sides: str, **parameters: Any) -> Any:
    cls = sided(stage)
    return cls(cls.Parameters(sides=sides, **parameters))


@pytest.mark.parametrize("stage", [Language, GopherQuality, GopherRepetition, C4, PersonalData])
@given(values=st.lists(PAIRS, min_size=1, max_size=4), language=st.sampled_from(["en", "zh", None]))
def test_columns_are_those_of_the_texts(stage: type[Stage], values: list[Any], language: str | None) -> None:
    batch = batch_of([canonical(value) for value in values], language=pa.array([language] * len(values), pa.string()))
    both = make(stage, "chosen", "rejected")
    columns = both.measure(batch).columns
    expected = {}
    for side in ("chosen", "rejected"):
        texts = ["\n\n".join(turn["content"] for turn in value[side]) for value in values]
        alone = Batch(pa.table({"text": pa.array(texts, pa.large_string()), "language": batch.column("language")}))
        expected |= {f"{side}_{k}": v for k, v in stage(stage.Parameters()).measure(alone).columns.items()}
    if stage is Language:
        expected["language"] = expected["chosen_language"]
    assert {k: v.to_pylist() for k, v in columns.items()} == {k: v.to_pylist() for k, v in expected.items()}
    assert list(columns) == both.schema.names


@given(st.lists(st.one_of(PAIRS, INSTRUCTIONS), min_size=1, max_size=4))
def test_masking_changes_contents_and_nothing_else(values: list[dict[str, Any]]) -> None:
    values = [value for value in values if "messages" in value] or values
    sides = ("prompt", "response") if "messages" in values[0] else ("prompt", "chosen", "rejected")
    texts = [canonical(value) for value in values]
    result = make(PersonalData, *sides).measure(batch_of(texts))
    assert not result.errors and result.text is not None
    for value, text in zip(values, result.text.to_pylist(), strict=True):
        after = json.loads(text)
        assert canonical(after) == text and after.keys() == value.keys()
        for name, turns in value.items():
            assert [turn["role"] for turn in after[name]] == [turn["role"] for turn in turns]
            contents = pa.array([turn["content"] for turn in turns], pa.large_string())
            masked = PersonalData(PersonalData.Parameters()).measure(Batch(pa.table({"text": contents}))).text
            assert [turn["content"] for turn in after[name]] == masked.to_pylist()


def test_only_the_named_sides_are_masked() -> None:
    batch = batch_of([pair("ask a@b.org", "write to c@d.org", "write to e@f.org")])
    result = make(PersonalData, "chosen").measure(batch)
    assert result.text is not None
    assert result.text[0].as_py() == pair("ask a@b.org", "write to email@example.com", "write to e@f.org")
    assert result.columns["chosen_email_count"].to_pylist() == [1]


def test_a_replacement_with_quotes_stays_json() -> None:
    result = make(PersonalData, "chosen", email_replacement='"}],\n"x\\').measure(batch_of([pair("p", "a@b.org", "r")]))
    assert result.text is not None
    assert parse(result.text[0].as_py())["chosen"][0].content == '"}],\n"x\\'


def test_a_side_has_its_own_language() -> None:
    texts = [pair("你好", "the of and to that", "的了是在和有")] * 2
    quality = make(GopherQuality, "chosen", "rejected")
    stop_words = [f"{side}_stop_word_count" for side in ("chosen", "rejected")]
    row = pa.array(["zh", "zh"])
    by_row = rows(quality, batch_of(texts, language=row))
    by_side = rows(quality, batch_of(texts, language=row, chosen_language=pa.array(["en", None], pa.string())))
    assert [[one[name] for name in stop_words] for one in by_row] == [[0, 6], [0, 6]]
    assert [[one[name] for name in stop_words] for one in by_side] == [[5, 6], [0, 6]]  # null: that of the row
    assert [[one[name] for name in stop_words] for one in rows(quality, batch_of(texts))] == [[5, None]] * 2  # und
    stated = batch_of(texts, stated_language=row)
    assert [[one[name] for name in stop_words] for one in rows(quality, stated)] == [[0, 6], [0, 6]]


def test_thresholds_are_those_of_the_language_of_the_side() -> None:
    """Each text has eight words; English asks for nine, Chinese for seven, any other language for eight."""
    words = "one two three four five six seven eight"
    limits = {"default": 8, "en": 9, "zh": 7, "de": None}
    stage = make(GopherQuality, "chosen", "rejected", min_words=limits)
    cases = [
        # stated, chosen, rejected: sides that have fewer words than their language asks for
        (None, "en", "zh", ["chosen"]),
        (None, "zh", "en", ["rejected"]),
        ("en", "zh", None, ["rejected"]),
        ("en", None, "de", ["chosen"]),
        ("zh", "en", "fr", ["chosen"]),
        (None, None, None, []),
        ("de", "en", "en", ["chosen", "rejected"]),
    ]
    columns = {
        name: pa.array([case[place] for case in cases], pa.string())
        for place, name in enumerate(("language", "chosen_language", "rejected_language"))
    }
    few = [f"{side}-few-words" for side in ("chosen", "rejected")]
    told = failing(stage, batch_of([pair("p", words, words)] * len(cases), **columns))
    assert [[rule.split("-")[0] for rule in one if rule in few] for one in told] == [case[3] for case in cases]
    assert {rule.by for rule in stage.rules()[:1]} == {("chosen_language", "language", "stated_language")}


def test_the_language_of_a_row() -> None:
    english, chinese = "This is a sentence about the weather of today.", "今天的天气很好，我们去公园吧。"
    texts = [pair(english, chinese, english), pair(chinese, english, chinese), pair(chinese, "", english), "{}"]
    stated = pa.array([None, "fr", None, "fr"])
    for sides, expected in [
        (("prompt", "chosen", "rejected"), ["zh", "fr", "zh", None]),
        (("prompt",), ["en", "fr", "zh", None]),
        (("rejected",), [None, "fr", None, None]),
    ]:
        found = make(Language, *sides).measure(batch_of(texts, stated_language=stated))
        assert found.columns["language"].to_pylist() == expected
    plain = make(Language, "prompt", "response").measure(batch_of([instruction(english, chinese)]))
    assert plain.columns["language"].to_pylist() == ["zh"]
    assert "row" in make(Language, "prompt").facts() and "row" not in make(GopherQuality, "prompt").facts()


def test_names_rules_and_facts() -> None:
    stage = make(Language, "prompt", "chosen", keep=["en"], min_score={"default": 0.5})
    inner = Language(Language.Parameters(keep=("en",), min_score={"default": 0.5}))
    assert (stage.name, stage.version, stage.deciding) == ("language", inner.version, inner.deciding)
    assert [rule.name for rule in stage.rules()] == [
        "prompt-language-not-kept",
        "prompt-language-score",
        "chosen-language-not-kept",
        "chosen-language-score",
    ]
    first = stage.rules()[0]
    assert (first.measure, first.detail) == ("prompt_language_kept", "prompt_language")
    assert inner.facts().items() <= stage.facts().items() and "sides" in stage.facts()
    assert stage.schema.field("chosen_language").metadata[b"description"].startswith(b"chosen: most probable")
    batch = batch_of(
        [pair("This is a question about the weather.", "Das ist eine deutsche Antwort auf die Frage.", "")]
    )
    decision = decide(stage.rules(), stage.measure(batch).columns, 1)
    assert stage.rules()[decision.first[0]].name == "chosen-language-not-kept"


def test_the_same_class_each_time_and_pickles() -> None:
    assert sided(Language) is sided(Language)
    stage = make(GopherQuality, "chosen", min_words=7)
    again = pickle.loads(pickle.dumps(stage))
    assert type(again) is type(stage) and again.parameters == stage.parameters


def test_paths_are_resolved(tmp_path: Any) -> None:
    given = sided(Language).Parameters(sides=["prompt"], model="lid.bin").resolved(tmp_path)
    assert given.model_dump()["model"] == tmp_path / "lid.bin" and given.model_dump()["sides"] == ("prompt",)


@pytest.mark.parametrize("sides", [[], ["chosen", "chosen"], ["chosen", "response"], ["answer"], None])
def test_sides_that_do_not_go_together(sides: Any) -> None:
    with pytest.raises(ValidationError):
        sided(Language).Parameters(sides=sides)


class Picky(Stage):
    """Fails on the text "bad"; changes nothing."""

    name: ClassVar[str] = "picky"
    Parameters: ClassVar[type[Parameters]] = Parameters

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([measure_field("size", pa.list_(pa.int32()), "size")])

    def rules(self) -> Sequence[Rule]:
        return []

    def measure(self, batch: Batch) -> Measured:
        texts = batch.text.to_pylist()
        errors = {row: DocumentError("picky-bad", "it is bad") for row, text in enumerate(texts) if text == "bad"}
        return Measured({"size": pa.array([[len(text)] for text in texts], pa.list_(pa.int32()))}, errors=errors)


def test_what_fails_on_one_side_fails_the_row() -> None:
    batch = batch_of([pair("p", "good", "good"), pair("p", "bad", "bad"), pair("p", "good", "bad"), "{}"])
    result = make(Picky, "chosen", "rejected").measure(batch)
    assert {row: (error.error_class, error.detail) for row, error in result.errors.items()} == {
        1: ("picky-bad", "chosen: it is bad"),
        2: ("picky-bad", "rejected: it is bad"),
        3: ("unknown-shape", "neither a pair nor an instruction: has no field"),
    }
    assert result.columns["chosen_size"].to_pylist() == [[4], None, None, None]


def test_an_instruction_has_no_chosen_side() -> None:
    batch = batch_of([canonical({"messages": [says("assistant", "x")]}), pair("p", "a", "b")])
    result = make(PersonalData, "chosen").measure(batch)
    assert {row: error.error_class for row, error in result.errors.items()} == {0: "missing-side"}
    assert result.text is not None and result.text.to_pylist() == batch.text.to_pylist()
    assert result.columns["chosen_email_count"].to_pylist() == [None, 0]


def test_no_rows() -> None:
    result = make(PersonalData, "prompt", "chosen").measure(batch_of([]))
    assert len(result.columns["prompt_email_count"]) == 0 and result.text is not None and len(result.text) == 0


def test_long_conversations_are_masked_turn_by_turn() -> None:
    turns = [says("user" if n % 2 == 0 else "assistant", f"{n}: x{n}@y.org") for n in range(100)]
    text = canonical({"messages": turns})
    result = make(PersonalData, "prompt", "response").measure(batch_of([text]))
    assert result.text is not None
    entry = parse(result.text[0].as_py())
    assert [m.content for m in (*entry["prompt"], *entry["response"])] == [
        f"{n}: email@example.com" for n in range(100)
    ]
    assert result.columns["prompt_email_count"].to_pylist() == [99]
    assert dump(entry) == result.text[0].as_py()
    assert batch_of([text]).feature(sides_of).text("response").to_pylist() == ["99: x99@y.org"]


def test_perplexity_of_each_side(tmp_path: Any) -> None:
    texts = [{"text": english(seed)} for seed in range(120)]
    fit_perplexity("en", [write_jsonl(tmp_path / "english.jsonl", texts)], tmp_path / "en", order=3, held_out_share=0.2)
    cls = sided(Perplexity)
    given = cls.Parameters(sides=["chosen", "rejected"], models={"en": "en"}, max_perplexity=100)
    stage = cls(given.resolved(tmp_path))
    pairs = [pair("p", english(500), "zxq vwk qqq!"), pair("p", "", "a")]
    batch = batch_of(pairs, chosen_language=["en", "en"], language=["en", "de"])
    found = rows(stage, batch)
    assert found[0]["chosen_perplexity"] < found[0]["rejected_perplexity"]
    assert [row["chosen_perplexity_bucket"] for row in found][1] == "empty"
    assert [row["rejected_perplexity_scored"] for row in found] == [True, False]
    assert stage.rules()[0].name == "chosen-empty-text" and stage.facts().items() >= stage.inner.facts().items()
