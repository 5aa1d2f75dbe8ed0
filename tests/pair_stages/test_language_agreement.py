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
from curation.pair_stages.prose import prose_of
from tests.pair_stages.build import batch_of, canonical, failing, instruction, pair, rows, says

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
        (LONG_EN, ["en", "fr", "zh"], [0.5, 0.75, 0.25], [0.5, 0.5]),
        (LONG_EN, ["en", None, "pl"], [0.5, 0, 0.25], [None, 0.5]),
        (LONG_EN, [None, "en", "zh"], [0, 1, 1], [None, None]),
        (LONG_ZH, ["el", "en", "pl"], [1, 0.75, 1], [0.75, 0]),
        (LONG_EN + " “天”", ["en", "fr", "zh"], [1, 0.75, 1], [0.75, None]),
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


@pytest.mark.parametrize(
    "text",
    [
        "```python\n# how to add one number to another one in a few easy steps\n```",
        "SELECT movies.title, actors.name FROM movies INNER JOIN actors ON movies.actor_id = actors.id",
        "<table>\n<tr><td>Language</td></tr>\n<tr><td>English</td></tr>\n<tr><td>French</td></tr>\n</table>",
        "if (a == b) { return a; } else { go(b); } while (b > a) { b = b - a; stop(a); wait(b); }",
        ", ".join(map(str, range(30))),
        "G, D, H, A, C, GD, GH, GA, GC, DH, DA, DC, HA, HC, AC",
        "Rao's, 455 East 114th Street, New York, NY 10029, United States of America",
        "- Shiso Burger - Hackescher Markt, Berlin\n- Burgermeister - Schlesisches Tor, Berlin\n- Mustafa's Kebap",
        "Yes, it is.",
    ],
)
def test_code_names_and_numbers_have_no_language(text: str) -> None:
    stage = LanguageAgreement(LanguageAgreement.Parameters(sides=("response",)))
    batch = told(instruction(LONG_ZH, text), ("prompt", "response"), ["zh", "en"], [1, 1])
    assert rows(stage, batch)[0]["response_language_disagreement"] is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("天空是蓝色的，因为 air scatters 蓝光最多。", "zh"),
        ("これは日本語の文章です。", None),
        ("天空 is what the sky is called over there, at least by some.", None),
    ],
)
def test_chinese_is_told_by_its_characters(text: str, language: str | None) -> None:
    assert ("zh" if prose_of(text).is_chinese else None) == language


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Je vais à l'école, mais il fait froid.", 7),
        ("यह एक सुंदर दिन है।", 5),
        ("هذا نص قصير.", 3),
        ("It is movies.title, f(x) and actor_id.", 3),
        ("", 0),
    ],
)
def test_words_of_prose(text: str, words: int) -> None:
    assert prose_of(text).words == words


def test_a_long_setting_says_nothing_of_who_asks() -> None:
    asked = [says("system", LONG_EN + LONG_EN), says("user", "un deux trois")]
    text = canonical({"messages": [*asked, says("assistant", " ".join(["mot"] * 10))]})
    stage = LanguageAgreement(LanguageAgreement.Parameters(sides=("response",)))
    (row,) = rows(stage, told(text, ("prompt", "response"), ["en", "fr"], [1, 1]))
    assert row["response_language_disagreement"] is None


def test_each_answer_has_a_threshold() -> None:
    batch = told(pair(LONG_EN, LONG_ZH, LONG_ZH), ("prompt", "chosen", "rejected"), ["en", "zh", "zh"], [1, 1, 1])
    chosen = LanguageAgreement(LanguageAgreement.Parameters(max_disagreement=0.9))
    rejected = LanguageAgreement(LanguageAgreement.Parameters(max_rejected_disagreement=0.9))
    assert failing(chosen, batch) == [["chosen-language-differs"]]
    assert failing(rejected, batch) == [["rejected-language-differs"]]


def test_hostile_texts() -> None:
    for unit in ("a-", "'a", "a'", "(a,,", "`", "<", "```\n", " \t", "\n", "a\u0301", "—a", "f("):
        prose_of(unit * 300_000 + "(")


def test_behind_the_language_stage() -> None:
    why, to_english = "请解释一下为什么天空是蓝色的？谢谢。", "请把这句话翻译成英语：天空是蓝色的，空气很好。"
    english, chinese = (
        "The sky is blue because air scatters blue light most of all.",
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
