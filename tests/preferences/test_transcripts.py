"""Transcripts and the prompt that two of them share, against twins that are slow and plain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import DocumentError
from curation.preferences import Limits, Message, Pair, read_record
from curation.preferences.limits import DEFAULT_LIMITS
from curation.preferences.split import split_sides
from curation.preferences.transcripts import join_transcript, split_transcript
from tests.preferences.examples import answers, prompts

said = st.text(st.sampled_from("ab \nHuman:ssit"), max_size=8)
transcripts = st.lists(st.tuples(st.sampled_from(["Human", "Assistant"]), said), min_size=1, max_size=6).map(
    lambda turns: "".join(f"\n\n{name}: {text}" for name, text in turns)
)


def naive_turns(text: str) -> list[tuple[str, str]]:
    """Character by character."""
    turns: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        for name in ("Human", "Assistant"):
            marker = f"\n\n{name}:"
            if text.startswith(marker, place):
                place += len(marker) + text.startswith(" ", place + len(marker))
                turns.append((name, ""))
                break
        else:
            turns[-1] = (turns[-1][0], turns[-1][1] + text[place])
            place += 1
    return turns


def naive_prompt(one: tuple[Message, ...], other: tuple[Message, ...]) -> tuple[Message, ...]:
    """The longest of all lists of turns that both begin with and that ends with a user or tool."""
    fitting = [one[:n] for n in range(1, len(one) + 1) if one[:n] == other[:n] and one[n - 1].role in ("user", "tool")]
    return max(fitting, key=len, default=())


def split(text: str) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in split_transcript(text, "chosen", DEFAULT_LIMITS)]


@given(transcripts)
def test_turns_against_a_naive_twin(text: str) -> None:
    names = {"Human": "user", "Assistant": "assistant"}
    assert split(text) == [(names[name], content) for name, content in naive_turns(text)]


@given(transcripts)
def test_nothing_of_a_transcript_is_lost(text: str) -> None:
    joined = join_transcript(split_transcript(text, "chosen", DEFAULT_LIMITS))
    assert joined == text or joined.replace(": ", ":") == text.replace(": ", ":")  # a marker without its space


def test_texts_keep_their_white_space_and_what_only_looks_like_a_marker() -> None:
    text = "\n\nHuman: hi \n\n\nAssistant: Human: no\nAssistant: no\n\n  Human: no\n\nHumans: no\n"
    assert split(text) == [("user", "hi \n"), ("assistant", "Human: no\nAssistant: no\n\n  Human: no\n\nHumans: no\n")]


@pytest.mark.parametrize("text", ["Human: a\n\nAssistant: b", "\nHuman: a\n\nAssistant: b"])
def test_the_empty_line_at_the_head_may_be_missing(text: str) -> None:
    assert split(text) == [("user", "a"), ("assistant", "b")]


@pytest.mark.parametrize("text", ["", "hi", "\n\n\nHuman: a", "Preface\n\nHuman: a", "human: a"])
def test_not_a_transcript(text: str) -> None:
    with pytest.raises(DocumentError, match="malformed-transcript"):
        split(text)


@given(prompts(), answers(), answers(), st.booleans())
def test_the_shared_prompt_against_a_naive_twin(
    prompt: tuple[Message, ...], one: tuple[Message, ...], other: tuple[Message, ...], same: bool
) -> None:
    chosen, rejected = prompt + one, prompt + (one if same else other)
    shared, first, second = split_sides(chosen, rejected)
    assert shared == naive_prompt(chosen, rejected)
    assert shared + first == chosen and shared + second == rejected


def pair(chosen: str, rejected: str) -> tuple[list[str], list[str], list[str]]:
    entry = read_record({"chosen": chosen, "rejected": rejected})
    return tuple([m.content for m in side] for side in (entry.prompt, entry.chosen, entry.rejected))  # type: ignore


def test_the_last_answer_differs() -> None:
    head = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: "
    assert pair(head + "d", head + "e") == (["a", "b", "c"], ["d"], ["e"])


def test_an_empty_last_answer_is_an_answer() -> None:
    head = "\n\nHuman: a\n\nAssistant:"
    assert pair(head, head + " e") == (["a"], [""], ["e"])


def test_an_earlier_answer_differs() -> None:
    head = "\n\nHuman: a\n\nAssistant: "
    tail = "\n\nHuman: c\n\nAssistant: d"
    assert pair(head + "b" + tail, head + "B" + tail) == (["a"], ["b", "c", "d"], ["B", "c", "d"])


def test_a_question_differs() -> None:
    head = "\n\nHuman: a\n\nAssistant: b\n\nHuman: "
    assert pair(head + "c\n\nAssistant: d", head + "C\n\nAssistant: d") == (["a"], ["b", "c", "d"], ["b", "C", "d"])


def test_one_answer_is_longer() -> None:
    head = "\n\nHuman: a\n\nAssistant: b"
    assert pair(head + "\n\nAssistant: c", head) == (["a"], ["b", "c"], ["b"])


def test_both_are_the_same() -> None:
    text = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d"
    assert pair(text, text) == (["a", "b", "c"], ["d"], ["d"])


@pytest.mark.parametrize(
    ("chosen", "rejected", "error_class"),
    [
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: A\n\nAssistant: b", "different-prompts"),
        ("\n\nHuman: a\n\nAssistant: b", "Sorry.", "malformed-transcript"),
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a", "missing-response"),
        ("\n\nHuman: a", "\n\nHuman: a", "missing-response"),
        ("\n\nAssistant: a\n\nHuman: b\n\nAssistant: c", "\n\nAssistant: a\n\nHuman: b\n\nAssistant: d", "wrong-role"),
        ("\n\nHuman: a\n\nHuman: b\n\nAssistant: c", "\n\nHuman: a\n\nHuman: b\n\nAssistant: d", "wrong-role"),
        ("\n\nHuman: \n\nAssistant: b", "\n\nHuman: \n\nAssistant: c", "empty-prompt"),
    ],
)
def test_errors(chosen: str, rejected: str, error_class: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_record({"chosen": chosen, "rejected": rejected})
    assert caught.value.error_class == error_class


def test_a_prompt_beside_the_answers() -> None:
    entry = read_record({"prompt": "\n\nHuman: a\n\nAssistant:", "chosen": " b", "rejected": "c"})
    assert isinstance(entry, Pair)
    assert [m.content for m in entry.prompt + entry.chosen + entry.rejected] == ["a", "b", "c"]
    with pytest.raises(DocumentError, match="malformed-transcript"):
        read_record({"prompt": "\n\nHuman: a", "chosen": "b", "rejected": "c"})


def test_many_turns_and_long_texts_end_early() -> None:
    many = "\n\nHuman: a\n\nAssistant: b" * 400_000
    for limits, error_class in ((DEFAULT_LIMITS, "too-long"), (Limits(text_characters=1 << 30), "too-many-turns")):
        with pytest.raises(DocumentError) as caught:
            read_record({"chosen": many, "rejected": many}, limits=limits)
        assert caught.value.error_class == error_class
