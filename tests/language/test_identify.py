"""Which language, which script, how sure."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import opencc
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curation.batch import Batch
from curation.errors import InputError
from curation.language import Language
from curation.language.identify import bundled_model, load_identifier
from curation.language.script import chinese_script
from curation.stage import decide

TEXTS = {
    "en": "The old mill stood at the river, and nobody remembered who had built it.",
    "zh": "今天天气很好，我们一起去公园散步，看到了许多美丽的花。",
    "de": "Die alte Mühle stand am Fluss, und niemand wusste mehr, wer sie gebaut hatte.",
    "ru": "Старая мельница стояла у реки, и никто не помнил, кто её построил.",
    "ja": "古い水車小屋は川のそばにあり、誰が建てたのか覚えている人はいなかった。",
    "ko": "오래된 방앗간은 강가에 서 있었고 누가 지었는지 아무도 기억하지 못했다.",
    "el": "Ο παλιός μύλος βρισκόταν δίπλα στο ποτάμι και κανείς δεν θυμόταν ποιος τον έχτισε.",
    "fr": "Le vieux moulin se dressait au bord de la rivière et personne ne savait qui l'avait bâti.",
}


def measure(texts: list[str], **given: object) -> tuple[Language, dict[str, list[object]]]:
    stage = Language(Language.Parameters(**given))
    measured = stage.measure(Batch(pa.table({"text": pa.array(texts, pa.large_string())})))
    assert measured.text is None
    assert [field.name for field in stage.schema] == list(measured.columns)
    assert [field.type for field in stage.schema] == [column.type for column in measured.columns.values()]
    return stage, {name: column.to_pylist() for name, column in measured.columns.items()}


def test_languages_of_plain_sentences() -> None:
    _, columns = measure(list(TEXTS.values()))
    assert columns["language"] == list(TEXTS)
    assert all(0.65 <= score <= 1 for score in columns["language_score"])  # type: ignore[operator]
    assert all(one != two for one, two in zip(columns["language"], columns["language_runner_up"], strict=True))
    sums = [a + b for a, b in zip(columns["language_score"], columns["language_runner_up_score"], strict=True)]  # type: ignore[operator]
    assert all(total < 1.001 for total in sums)


def test_line_breaks_do_not_matter() -> None:
    identifier = load_identifier(bundled_model())
    for text in TEXTS.values():
        assert identifier.identify(text.replace(" ", "\n")) == identifier.identify(text)
        assert identifier.identify(text + "\r\n\n") == identifier.identify(text)


def test_a_token_of_the_model_does_not_hide_the_text() -> None:
    found = load_identifier(bundled_model()).identify("</s> " + TEXTS["fr"])
    assert found is not None
    assert found.language == "fr"


@pytest.mark.parametrize("text", ["", " ", "\n\t\n", "\0", " \x0b\x0c "])
def test_nothing_has_no_language(text: str) -> None:
    assert load_identifier(bundled_model()).identify(text) is None


def test_only_the_beginning_is_read() -> None:
    text = TEXTS["en"] * 20 + TEXTS["ru"] * 200
    assert measure([text], max_chars=1000)[1]["language"] == ["en"]
    assert measure([text], max_chars=100_000)[1]["language"] == ["ru"]
    chinese = TEXTS["zh"] * 20  # characters are counted, not bytes
    assert measure([chinese], max_chars=100)[1]["language"] == ["zh"]


def test_rules() -> None:
    texts = [TEXTS["en"], TEXTS["de"], "", "12345 67890"]
    stage, columns = measure(texts, keep=["en"], min_score={"default": 0.65, "en": 0.9})
    arrays = {name: pa.array(column) for name, column in columns.items()}
    decision = decide(stage.rules(), arrays, len(texts))
    names = [None if index < 0 else stage.rules()[index].name for index in decision.first]
    assert names == [None, "language-not-kept", "language-not-kept", "language-score"]
    assert decision.failing[1].tolist()[2:] == [True, True]
    assert columns["language_score"][2] == 0.0
    stage, columns = measure(texts)
    assert columns["language_kept"] == [True] * 4


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_text_gets_probabilities(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    _, columns = measure(texts)
    for code, score, visible in zip(columns["language"], columns["language_score"], texts, strict=True):
        assert 0 <= score <= 1  # type: ignore[operator]
        assert (code is None) == (not visible.strip(" \t\r\n\v\f\0"))


def test_a_document_does_not_depend_on_its_neighbours() -> None:
    texts = list(TEXTS.values())
    _, together = measure(texts)
    for row, text in enumerate(texts):
        _, alone = measure([text])
        assert {name: column[0] for name, column in alone.items()} == {
            name: column[row] for name, column in together.items()
        }


def test_script_by_example() -> None:
    assert chinese_script("這個時候我們還沒有開門") == "Hant"
    assert chinese_script("这个时候我们还没有开门") == "Hans"
    assert chinese_script("山水日月") is None
    assert chinese_script("后里干") is None  # in use in both
    assert chinese_script("") is None
    assert chinese_script("\U0001f600 \U00020000 plain") is None
    assert measure([TEXTS["zh"], TEXTS["ja"]])[1]["language_script"] == ["Hans", None]


def test_script_of_converted_text() -> None:
    """OpenCC turns one script into the other."""
    to_simplified, to_traditional = opencc.OpenCC("t2s"), opencc.OpenCC("s2t")
    text = "圖書館裡的舊書講述了許多歷史故事，學生們認真閱讀，還寫下筆記。"
    assert chinese_script(text) == chinese_script(to_traditional.convert(to_simplified.convert(text))) == "Hant"
    assert chinese_script(to_simplified.convert(text)) == "Hans"


def test_facts_and_own_models(tmp_path: Path) -> None:
    facts = Language(Language.Parameters()).facts()
    assert facts["model"] == "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
    shutil.copy(bundled_model(), tmp_path / "mine.ftz")
    given = Language.Parameters(model="mine.ftz").resolved(tmp_path)
    assert Language(given).facts() == facts
    with pytest.raises(InputError, match="cannot be read"):
        Language(Language.Parameters(model=tmp_path / "absent.ftz"))
    (tmp_path / "text.ftz").write_text("this is no model")
    with pytest.raises(InputError, match="not a fastText model"):
        load_identifier(tmp_path / "text.ftz")


@pytest.mark.parametrize("given", [{"keep": []}, {"min_score": 1.5}, {"max_chars": 0}, {"languages": ["en"]}])
def test_parameters_are_checked(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Language.Parameters(**given)


MAJOR = dict(
    eng="en", cmn="zh", deu="de", fra="fr", spa="es", rus="ru", jpn="ja", kor="ko", ita="it", por="pt", pol="pl"
)  # fmt: skip


def test_accuracy_on_sentences(real_data: Path) -> None:
    identifier = load_identifier(bundled_model())
    right, total = 0, 0
    with gzip.open(real_data / "language" / "tatoeba-113-languages.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            if one["lang"] in MAJOR:
                found = identifier.identify(one["text"])
                right += found is not None and found.language == MAJOR[one["lang"]]
                total += 1
    assert total > 10_000
    assert right / total > 0.98


def test_accuracy_of_scripts(real_data: Path) -> None:
    name = real_data / "language" / "zh-hans-hant-parallel.jsonl.gz"
    with gzip.open(name, "rt", encoding="utf-8") as lines:
        found = [(one["lang"], chinese_script(one["text"])) for one in map(json.loads, lines)]
    assert len(found) == 1000
    assert sum(lang == f"zh-{script}" for lang, script in found) >= 995
