"""Digests tell contents apart, and nothing else."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from curation.preferences import (
    Instruction,
    Message,
    Pair,
    Unpaired,
    instruction_digest,
    pair_digest,
    prompt_digest,
    question_digest,
)
from curation.preferences.digests import normalised
from tests.preferences.examples import CHOSEN, PROMPT, REJECTED, answers, prompts


def blake(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def test_digests_stay() -> None:
    """Stored ids depend on them."""
    user = '["user","Why is the sky blue?"]'
    good, bad = '["assistant","Air scatters blue light most."]', '["assistant","It mirrors the sea."]'
    assert pair_digest(Pair(PROMPT, CHOSEN, REJECTED)) == blake(f'["pair",null,[{user}],[{good}],[{bad}]]')
    assert pair_digest(Pair(PROMPT, CHOSEN, REJECTED)) == "4c81ff5921d602a1d6d985ba309b3e20"
    assert prompt_digest(PROMPT) == blake('["prompt",[["user","why is the sky blue?"]]]')
    assert instruction_digest(Instruction(PROMPT + CHOSEN)) == blake(f'["instruction",null,[{user},{good}]]')


def test_what_counts() -> None:
    pair = Pair(PROMPT, CHOSEN, REJECTED)
    assert pair_digest(replace(pair, margin=1.0, source_id="1", language="en", license="MIT")) == pair_digest(pair)
    others = [
        replace(pair, chosen=REJECTED, rejected=CHOSEN),
        replace(pair, tools="[1]"),
        replace(pair, rejected=CHOSEN),
    ]
    assert len({pair_digest(other) for other in [pair, *others]}) == 4
    shifted = replace(pair, prompt=PROMPT + CHOSEN, chosen=(), rejected=())
    assert pair_digest(shifted) != pair_digest(pair)


def test_prompts_that_are_the_same() -> None:
    def digest(text: str) -> str:
        return prompt_digest((Message("user", text),))

    assert digest("Why  is\nＴＨＥ sky blue? ") == digest("why is the sky blue?")
    assert digest("why is the sky blue") != digest("why is the sky blue?")
    assert prompt_digest((Message("system", "a"), Message("user", "b"))) != digest("a b")


@given(prompts(), answers(), answers())
def test_equal_contents_have_equal_digests(
    prompt: tuple[Message, ...], one: tuple[Message, ...], other: tuple[Message, ...]
) -> None:
    first, second = Pair(prompt, one, other), Pair(prompt, other, one)
    assert (pair_digest(first) == pair_digest(second)) == (one == other)


# Marks out of order, characters that fold or fall apart, all kinds of white space.
_DOUBTFUL = "aAßéİﬁＡ①Ａ한가\u1100\u1161\u0301\u0323\u0327\u0345\u0344\u0f71\u3099か \t\n\u00a0\u2003\u3000\x1c\u200b"


@given(st.one_of(st.text(max_size=20), st.text(_DOUBTFUL, max_size=200)))
def test_normalised_is_folded_nfkc_with_single_spaces(text: str) -> None:
    assert normalised(text) == " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def test_a_million_marks_are_normalised_at_once() -> None:
    """In the worst order; a library that puts them into order one by one would take hours."""
    hostile = "Ｑ" + "\u0301\u0323" * 500_000 + "\u3000 END"
    assert normalised(hostile) == "q" + "\u0323" * 500_000 + "\u0301" * 500_000 + " end"


def test_what_a_question_is() -> None:
    """All that two rated answers share to be a pair, and nothing of the answers."""
    answer = Unpaired(PROMPT, CHOSEN, True, source_id="1", source="s", language="en", license="MIT", tools="[1]")
    same = replace(answer, response=REJECTED, good=False, source_id="2")
    assert question_digest(same) == question_digest(answer)
    others = [
        replace(answer, prompt=(*PROMPT, *CHOSEN, *PROMPT)),
        replace(answer, source=None),
        replace(answer, source="MIT", license="s"),
        replace(answer, language="zh"),
        replace(answer, license="CC0"),
        replace(answer, tools=None),
    ]
    assert len({question_digest(other) for other in [answer, *others]}) == 7
