"""Prompt and answers of two sides that each hold both."""

from __future__ import annotations

from curation.errors import DocumentError
from curation.preferences.limits import Limits
from curation.preferences.messages import Conversation, prompt_length, read_messages
from curation.preferences.transcripts import split_transcript


def whole_sides(chosen: object, rejected: object, limits: Limits) -> tuple[Conversation, Conversation]:
    """Two whole conversations, as lists of messages or as transcripts."""
    sides = []
    for value, where in ((chosen, "chosen"), (rejected, "rejected")):
        read = read_messages if isinstance(value, list) else split_transcript
        sides.append(read(value, where, limits))
    return sides[0], sides[1]


def split_sides(chosen: Conversation, rejected: Conversation) -> tuple[Conversation, Conversation, Conversation]:
    """Prompt and answers of two whole conversations.

    The prompt is the longest run of whole turns that both begin with and that ends with a turn of the user or
    of a tool; the rest of each is its answer, of one turn or more.  Where both are the same from end to end,
    what follows the last such turn is the answer.  ``different-prompts`` where they share no such run.
    """
    shared = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        shared += 1
    length = prompt_length(chosen[:shared])
    if length == 0:
        raise DocumentError("different-prompts", "chosen and rejected do not begin with the same turn of a user")
    return chosen[:length], chosen[length:], rejected[length:]


def without_prompt(
    prompt: Conversation, chosen: Conversation, rejected: Conversation, *, prompt_is_text: bool
) -> tuple[Conversation, Conversation, Conversation]:
    """Prompt and answers where the answers may repeat the prompt.

    Answers that begin with the assistant do not.  Others must both begin with the whole prompt; or, where the
    prompt was a text, share a prompt whose last turn is that text.  ``different-prompts`` otherwise.
    """
    if not all(side and side[0].role in ("system", "user") for side in (chosen, rejected)):
        return prompt, chosen, rejected
    length = len(prompt)
    if chosen[:length] == prompt == rejected[:length]:
        return prompt, chosen[length:], rejected[length:]
    shared, first, second = split_sides(chosen, rejected)
    if not prompt_is_text or shared[-1] != prompt[-1]:
        raise DocumentError("different-prompts", "chosen and rejected repeat another prompt than the one given")
    return shared, first, second
