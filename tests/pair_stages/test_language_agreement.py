"""Whether answers are in the language of their prompt."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curation.batch import Batch
from curation.errors import RunError
from curation.language import Language
from curation.pair_stages import LanguageAgreement, sided
from curation.pair_stages.asked import names_language
from tests.pair_stages.build import batch_of, failing, instruction, pair, rows

STAGE = LanguageAgreement(LanguageAgreement.Parameters())
LONG_EN, LONG_ZH = "one two three four five six seven eight nine ten", "一二三四五六七八九十"


def told(text: str, sides: tuple[str, ...], codes: list[str | None], scores: list[float | None]) -> Batch:
    columns: dict[str, Any] = {}
    for side, code, score in zip(sides, codes, scores, strict=True):
        columns[f"{side}_language"] = pa.array([code], pa.string())
        columns[f"{side}_language_score"] = pa.array([score], pa.float32())
    return batch_of([text], **columns)


@pytest.mark.parametrize(
    ("prompt", "codes", "scores", "expected"),
    [
        (LONG_EN, ["en", "en", "zh"], [1, 1, 1], [0, 1]),
        (LONG_EN, ["en", "zh", "zh"], [0.5, 0.75, 0.25], [0.5, 0.25]),
        (LONG_EN, ["en", None, "zh"], [0.5, 0, 0.25], [None, 0.25]),
        (LONG_EN, [None, "en", "zh"], [0, 1, 1], [None, None]),
        (LONG_EN + " in French", ["en", "zh", "zh"], [1, 1, 1], [None, None]),
        ("short one", ["en", "zh", "zh"], [1, 1, 1], [None, None]),
    ],
)
def test_cases(prompt: str, codes: list[str | None], scores: list[float | None], expected: list[float | None]) -> None:
    batch = told(pair(prompt, LONG_EN, LONG_ZH), ("prompt", "chosen", "rejected"), codes, scores)
    row = rows(STAGE, batch)[0]
    assert [row["chosen_language_disagreement"], row["rejected_language_disagreement"]] == expected


@pytest.mark.parametrize(
    ("prompt", "response", "codes", "expected"),
    [
        (LONG_ZH, LONG_ZH, ["zh", "yue"], 0),
        (LONG_ZH, LONG_ZH, ["zh", "ja"], 0),
        (LONG_ZH, LONG_ZH + "の", ["zh", "ja"], 1),
        (LONG_ZH, LONG_ZH, ["ko", "zh"], 0),
        (LONG_ZH, LONG_EN, ["zh", "ko"], None),
        (LONG_ZH, LONG_EN + " 한", ["zh", "ko"], 1),
    ],
)
def test_chinese_characters(prompt: str, response: str, codes: list[str | None], expected: float | None) -> None:
    stage = LanguageAgreement(LanguageAgreement.Parameters(sides=("response",)))
    batch = told(instruction(prompt, response), ("prompt", "response"), codes, [1, 1])
    assert rows(stage, batch)[0]["response_language_disagreement"] == expected


def test_behind_the_language_stage() -> None:
    why, to_english = "请解释一下为什么天空是蓝色的？谢谢。", "请把这句话翻译成英语：天空是蓝色的，空气很好。"
    english, chinese = (
        "The sky is blue because air scatters blue light most.",
        "因为空气散射蓝光最多，所以天空是蓝色的。",
    )
    texts = [pair(why, english, chinese), pair(to_english, english, "天空")]
    batch = batch_of(texts)
    language = sided(Language)(sided(Language).Parameters(sides=("prompt", "chosen", "rejected")))
    table = batch.table
    for name, column in language.measure(batch).columns.items():
        table = table.append_column(name, column)
    strict = LanguageAgreement(LanguageAgreement.Parameters(max_disagreement=0.5))
    assert failing(strict, Batch(table)) == [["chosen-language-differs"], []]
    assert failing(STAGE, Batch(table)) == [[], []]


def test_without_the_language_stage_the_run_stops() -> None:
    with pytest.raises(RunError, match=r"prompt_language.*sides: \[prompt, chosen, rejected\]"):
        STAGE.measure(batch_of([pair("p", "a", "b")]))


@pytest.mark.parametrize("text", ["Translate this", "say it in FRENCH", "用英语回答", "翻譯", "in Chinese, please"])
def test_languages_are_named(text: str) -> None:
    assert names_language(text)


@pytest.mark.parametrize("text", ["", "a Frenchman", "polishing", "解释天空", "germane"])
def test_languages_are_not_named(text: str) -> None:
    assert not names_language(text)


def test_answers_only() -> None:
    for sides in (("prompt",), ("chosen", "response"), ()):
        with pytest.raises(ValidationError):
            LanguageAgreement.Parameters(sides=sides)
