"""Copies of the prompt, counted again without any cleverness; marks of templates."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.pair_stages import PromptLeak
from curation.pair_stages.copies import copied_words
from curation.pair_stages.prompt_leak import MARKS, prompt_residue, template_residue
from curation.pair_stages.table import read_table
from curation.preferences.messages import Message
from tests.pair_stages.build import batch_of, canonical, failing, instruction, pair, rows, says
from tests.pair_stages.twins import copied

ABC = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]


_TEXTS = st.lists(st.sampled_from([*"abc", "B", "日", "本", "é", ".", "-", "1", "ﬁ"]), max_size=30).flatmap(
    lambda parts: st.sampled_from([" ".join(parts), "".join(parts)])
)


@given(_TEXTS, _TEXTS, st.integers(2, 4), st.integers(2, 5))
def test_naive_twin(source: str, text: str, n: int, m: int) -> None:
    found = copied_words(pa.array([source, "x"]), pa.array([text, None]), n, m)
    assert found.tolist() == [copied(source, text, n, m), [0, 0, 0]]


def test_by_hand() -> None:
    stage = PromptLeak(PromptLeak.Parameters())
    prompt = " ".join(ABC)
    row = rows(stage, batch_of([pair(prompt, "Well: A B C D E F G H, and more", "a b c d e f g. h? i j")]))[0]
    assert row["chosen_copy_ratio"] == 8 / 11 and row["chosen_copied_words"] == 8
    assert row["rejected_copy_ratio"] == 1 and row["rejected_copied_words"] == 10
    row = rows(stage, batch_of([pair(prompt, "a b c d e f g", "!")]))[0]
    assert row["chosen_copy_ratio"] == 0 and row["rejected_copy_ratio"] is None


def test_chinese_takes_more_characters() -> None:
    text = "为什么天空在晴天里是蓝色的"  # 13
    stage = PromptLeak(PromptLeak.Parameters(sides=("response",), max_copy_ratio=0.5, max_copied_words=12))
    texts = [instruction(f"请问，{text}呢？", text), instruction(f"请问，{text}呢？", text[:12])]
    assert [row["response_copied_words"] for row in rows(stage, batch_of(texts))] == [13, 0]
    assert failing(stage, batch_of(texts)) == [["response-copies-prompt", "response-long-copy"], []]


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("", 0),
        ("Hello <|im_end|>\n<|im_start|>user", 2),
        ("Sure.\n### Instruction:\nDo it", 1),
        ("Write ### Instruction: in front", 0),
        ("Human: hi\nAssistant: hi", 2),
        ("the Human: hi", 0),
        ("<noinput>", 1),
        ("I am {{name}}, made by {{ author }}.", 2),
        ("{{}} {{ a.b }} {{ x | y }} {x}", 0),
        ("[INST] x [/INST] </s>", 2),
        ("我是 {{名字}}", 1),
        ("{{" + "a" * 100_000, 0),
        ("{{" * 100_000, 0),
    ],
)
def test_template_residue(text: str, marks: int) -> None:
    assert template_residue(text) == marks


def test_every_mark_is_found_as_it_is_written() -> None:
    for row in read_table(MARKS):
        mark = row["mark"].replace("*", "name")
        turns = (Message("user", f"Do it.\n{mark}"),) if row["where"] == "last" else (Message("assistant", mark),)
        assert prompt_residue(turns) == 1, row


def test_marks_count_where_a_model_learns() -> None:
    stage = PromptLeak(PromptLeak.Parameters())
    texts = [pair("p", "<noinput>", "no"), pair("p", "yes", "<noinput>")]
    assert failing(stage, batch_of(texts)) == [["chosen-template-residue"], []]
    both = PromptLeak(PromptLeak.Parameters(max_rejected_template_marks=0))
    assert failing(both, batch_of(texts)) == [["chosen-template-residue"], ["rejected-template-residue"]]
    kept = PromptLeak(PromptLeak.Parameters(max_template_marks=None))
    assert failing(kept, batch_of(texts)) == [[], []]


@pytest.mark.parametrize(
    ("asked", "text", "marks"),
    [
        ("Living or not?\nHuman, Car", "Human: Living\nCar: Not", 0),
        ("Why?", "Human: Because.", 1),
        ("Translate: use {{language}}", "Använd {{language}}, {{name}}", 1),
        ("What does <|im_end|> mean?", "<|im_end|> ends a turn.", 0),
    ],
)
def test_what_the_user_speaks_of_is_no_residue(asked: str, text: str, marks: int) -> None:
    stage = PromptLeak(PromptLeak.Parameters(sides=("response",)))
    assert rows(stage, batch_of([instruction(asked, text)]))[0]["response_template_residue"] == marks


@pytest.mark.parametrize(
    ("prompt", "marks"),
    [
        ("List the steps.\nNo input", 1),
        ('List the steps.\n"<noinput>"', 1),
        ("确定这幅画的主题。\n没有输入。", 1),
        ("Name a fish.\n<N/A>\n", 1),
        ("No input", 0),
        ("Is there no input\nto this?", 0),
        ("What happens if a function takes no input?", 0),
        ("What is a {{name}}?", 0),
    ],
)
def test_residue_of_prompts(prompt: str, marks: int) -> None:
    strict = PromptLeak(PromptLeak.Parameters(sides=("response",), max_prompt_template_marks=0))
    batch = batch_of([instruction(prompt, "An answer.")])
    assert rows(strict, batch)[0]["prompt_template_residue"] == marks
    assert failing(strict, batch) == [["prompt-template-residue"] * marks]
    assert failing(PromptLeak(PromptLeak.Parameters(sides=("response",))), batch) == [[]]


def test_a_leak_in_the_dialogue_does_not_excuse_the_next() -> None:
    turns = [says("user", "Why?"), says("assistant", "Human: Well."), says("user", "Yes?")]
    text = canonical({"messages": [*turns, says("assistant", "Human: Because.")]})
    row = rows(PromptLeak(PromptLeak.Parameters(sides=("response",))), batch_of([text]))[0]
    assert row["prompt_template_residue"] == row["response_template_residue"] == 1


def test_escaped_characters() -> None:
    texts = [
        pair("a &lt; b?", "Tom &amp; Jerry &quot;x&quot; &#39;y&#x27;", "R&D; AT&T &c. &str; &copy"),
        pair("a < b?", "&", ""),
    ]
    stage = PromptLeak(PromptLeak.Parameters(max_escaped=0))
    found = [
        [row[f"{side}_escaped"] for side in ("prompt", "chosen", "rejected")] for row in rows(stage, batch_of(texts))
    ]
    assert found == [[1, 5, 0], [0, 0, 0]]
    assert failing(stage, batch_of(texts)) == [["chosen-escaped", "prompt-escaped"], []]
    assert failing(PromptLeak(PromptLeak.Parameters()), batch_of(texts)) == [[], []]


def test_linear_on_long_texts() -> None:
    same = "a " * 300_000
    assert copied_words(pa.array([same]), pa.array([same]), 8, 13).tolist() == [[300_000, 300_000, 300_000]]
