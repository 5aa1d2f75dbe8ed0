"""Words: against tokens that spaCy 3.8 gave, against a naive twin, and against spaCy where it is installed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.text import charclass
from curation.text.special_cases import special_cases
from curation.text.words import ENDS_SENTENCE, IDEOGRAM, SYLLABLE, count_sentences, split_texts, words
from tests.rules import naive
from tests.rules.helpers import LANGUAGES, batch_of, texts

# Texts and their tokens as spacy.blank("en") of spaCy 3.8.18 gives them, joined by blanks.
SPACY = [
    ("I don't think it's John's; he can't've known.", "I do n't think it 's John 's ; he ca n't 've known ."),
    (
        "(see www.example.com/path?q=1, or mail a.b@c-d.org).",
        "( see www.example.com/path?q=1 , or mail a.b@c-d.org ) .",
    ),
    ("We paid US$5.00 (about £4, or 4€) for 10km.", "We paid US$ 5.00 ( about £ 4 , or 4 € ) for 10 km ."),
    ("It was 20°C.", "It was 20 ° C ."),
    ('"Well," she said---no, shouted---"I\'m done!!!"', '" Well , " she said --- no , shouted---"I\'m done ! ! ! "'),
    ("e.g. the U.S.A., Mr. Smith vs. Dr. No...", "e.g. the U.S.A. , Mr. Smith vs. Dr. No ..."),
    ("The and/or clause: x=y, 3-4 items, 1,000.5 km/h.", "The and/or clause : x = y , 3 - 4 items , 1,000.5 km / h."),
    ("Plan-B is vitamin-c. Ask Bob-or-Sue.Then go.", "Plan - B is vitamin - c. Ask Bob - or - Sue . Then go ."),
    ("10a.m. or 10 a.m.? It's 5pm:-)", "10 a.m. or 10 a.m. ? It 's 5pm:- )"),
    ("#tag @user <b>bold</b> [1] {x} _y_ *z*", "# tag @user < b > bold</b > [ 1 ] { x } _ y _ * z *"),
    ("naïve café—résumé…done", "naïve café — résumé … done"),
    ("http://10.0.0.1:80/x http://8.8.8.8/y ftp.a.b:2100", "http://10.0.0.1:80 / x http://8.8.8.8/y ftp.a.b:2100"),
    ("日本語テキスト。English，text", "日本語テキスト。English，text"),
    ("\u200bzero\xadwidth a\u0301b  two  spaces\tand\ttab", "\u200bzero\xadwidth a\u0301b two spaces and tab"),
    ("‘twas the night, gonna y'all ma'am o'clock", "‘ twas the night , gon na y' all ma'am o'clock"),
    ("(8) :) :-( >.< ¯\\(ツ)/¯ (o_O) x:)", "( 8) :) :-( >.< ¯\\(ツ)/¯ ( o_O ) x :)"),
    ("don’t it’s ’em ’cause", "do n’t it ’s ’em ’cause"),
    ("5mm 10kg 3M 7% $5% +5 5+ +x -5", "5 mm 10 kg 3 M 7 % $ 5 % +5 5 + + x -5"),
    ("a. b. Z. co. Inc. end.", "a. b. Z. co. Inc. end ."),
    ("..... .. . …… …", "..... .. . … … …"),
    ("'quoted' ''double'' `back` «guillemets»", "' quoted ' ' ' double '' ` back ` « guillemets »"),
]
SENTENCES = [
    ("Hello there.", 1),
    ("Hello there. How are you? Fine!", 3),
    ("Mr. Smith went to the U.S. in 1999. He left...", 2),
    ("No end here", 1),
    ('Wait... what?! Yes. "Quoted." (Done.) And', 5),
    ("One.  Two. \t. Three", 4),
    ("...", 1),
    ("e.g. this one. i.e. that.", 2),
]


def split(text: str, language: str = "en") -> list[str]:
    """The words of a text, put back from their lengths."""
    found = words(batch_of([text], [language]))
    rest = "".join(text.split())
    result = []
    for length in found.lengths:
        result.append(rest[:length])
        rest = rest[length:]
    assert rest == ""
    return result


@pytest.mark.parametrize(("text", "tokens"), SPACY)
def test_english_words_are_those_of_spacy(text: str, tokens: str) -> None:
    assert split(text) == tokens.split()


@pytest.mark.parametrize(("text", "count"), SENTENCES)
def test_sentences_are_those_of_spacy(text: str, count: int) -> None:
    assert sentence_count(text, "en") == count


def sentence_count(text: str, language: str) -> int:
    import numpy as np

    data = np.frombuffer(text.encode(), np.uint8)
    ends = np.array([len(data)], np.int64)
    return int(count_sentences(data, np.zeros(1, np.int64), ends, np.array([language != "en"]))[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我们在2020年用Python写代码。", "我 们 在 2020 年 用 Python 写 代 码 。"),
        ("他说：“好。”……（完）", "他 说 ： “ 好 。 ” …… （ 完 ）"),
        ("コーヒーを飲む", "コ ー ヒ ー を 飲 む"),
        ("ที่นี่ 123", "ที่ นี่ 123"),
        ("it's 中文 isn't it", "it 's 中 文 is n't it"),
        ("한국어 말", "한국어 말"),
    ],
)
def test_characters_of_scripts_without_spaces_are_words(text: str, expected: str) -> None:
    assert split(text, "zh") == expected.split()


def test_marks_tell_what_a_word_is() -> None:
    found = words(batch_of(["中 ก x 。"], ["zh"]))
    assert [bool(mark & IDEOGRAM) for mark in found.marks] == [True, False, False, False]
    assert [bool(mark & SYLLABLE) for mark in found.marks] == [False, True, False, False]
    assert [bool(mark & ENDS_SENTENCE) for mark in found.marks] == [False, False, False, True]
    assert not words(batch_of(["中"], ["en"])).marks[0] & IDEOGRAM


@pytest.mark.parametrize("text", ["", " ", "\n \t", "\u3000\u2028"])
def test_blank_text_has_no_words(text: str) -> None:
    assert split(text) == [] and split(text, "zh") == []


@given(st.lists(st.tuples(texts(), st.sampled_from(LANGUAGES)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_words_equal_those_of_the_twin(pairs: list[tuple[str, str]]) -> None:
    found = words(batch_of([text for text, _ in pairs], [code for _, code in pairs]))
    for row, (text, code) in enumerate(pairs):
        expected = naive.words(text, code)
        own = slice(found.offsets[row], found.offsets[row + 1])
        assert found.lengths[own].tolist() == [len(word) for word in expected]
        # Equal hashes mean equal words, within and across documents.
        assert found.hashes[own].tolist() == [naive_hash(word) for word in expected]
        assert sentence_count(text, code) == naive.sentences(text, code)


def naive_hash(word: str) -> int:
    h = 0
    for character in word:
        h = (h * 0x9E3779B97F4A7C15 + (ord(character) + 1) * 0xBF58476D1CE4E5B9) % (1 << 64)
    return h


def test_equal_words_are_equal_however_they_came_about() -> None:
    found = split_texts(["a.m. 10a.m. x:) :) don't do"], [False])
    hashes = found.hashes.tolist()
    assert hashes[0] == hashes[2] and hashes[4] == hashes[5] and hashes[6] == hashes[8]


def test_one_very_long_chunk_and_line() -> None:
    # Longer than any working space that a kernel starts with, on the common and on the general path.
    for text in ("a" * 3_000_000, "!" * 300_000, "a.B" * 300_000, "a@" * 300_000, "[1" * 300_000):
        found = words(batch_of([text], ["en"]))
        assert int(found.lengths.sum()) == len(text)


def test_classes_agree_with_the_interpreter() -> None:
    flags = charclass.character_flags()
    for code in [*range(0x3000), *range(0xFF00, 0x10000), *range(0x1F300, 0x1F700)]:
        character, own = chr(code), int(flags[code])
        assert bool(own & charclass.SPACE) == character.isspace(), hex(code)
        assert bool(own & charclass.LETTER) == character.isalpha(), hex(code)
        assert bool(own & charclass.DECIMAL) == character.isdecimal(), hex(code)


def test_special_cases_hold_no_surprise() -> None:
    cases = special_cases()
    assert len(cases) == 1343  # spaCy 3.8.18 has as many, white space apart
    assert all("".join(parts) == case for case, parts in cases.items())
    assert cases["cannot"] == ("can", "not") and cases["won’t"] == ("wo", "n’t") and "its" not in cases


def test_everything_agrees_with_spacy_where_it_is_installed() -> None:
    spacy = pytest.importorskip("spacy")
    tokenizer = spacy.blank("en").tokenizer

    @given(texts())
    @settings(max_examples=300, deadline=None)
    def agree(text: str) -> None:
        assert split(text) == [token.text for token in tokenizer(text) if token.text.strip()]

    agree()
