"""Entries whose turns are in order: a prompt that asks, answers that the assistant gives."""

from __future__ import annotations

from curation.errors import DocumentError
from curation.preferences.entries import Common, Comparison, Instruction, Pair, Ranking, Votes
from curation.preferences.messages import Conversation, check_conversation, check_prompt, check_response


def checked_pair(
    prompt: Conversation,
    chosen: Conversation,
    rejected: Conversation,
    margin: float | None,
    ranking_id: str | None,
    common: Common,
) -> Pair:
    """A pair; the two answers may be the same."""
    check_prompt(prompt)
    check_response(prompt, chosen, "chosen")
    check_response(prompt, rejected, "rejected")
    return Pair(prompt, chosen, rejected, margin, ranking_id, **common)


def checked_ranking(
    prompt: Conversation, responses: tuple[Conversation, ...], scores: tuple[float, ...] | None, common: Common
) -> Ranking:
    """A ranking; ``too-few-responses`` where it is none.  There are as many scores as answers, if any."""
    check_prompt(prompt)
    if len(responses) < 2:
        raise DocumentError("too-few-responses", f"{len(responses)} of the two that a ranking takes at least")
    for index, response in enumerate(responses):
        check_response(prompt, response, f"response {index}")
    return Ranking(prompt, responses, scores, **common)


def checked_comparison(
    prompt: Conversation, first: Conversation, second: Conversation, votes: Votes, common: Common
) -> Comparison:
    """A comparison."""
    check_prompt(prompt)
    check_response(prompt, first, "the first response")
    check_response(prompt, second, "the second response")
    return Comparison(prompt, first, second, votes, **common)


def checked_instruction(messages: Conversation, common: Common) -> Instruction:
    """A conversation to learn from."""
    check_conversation(messages)
    return Instruction(messages, **common)
