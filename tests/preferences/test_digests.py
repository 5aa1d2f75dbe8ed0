"""Digests tell contents apart, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hypothesis import given

from curation.preferences import Instruction, Message, Pair, instruction_digest, pair_digest, prompt_digest
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
