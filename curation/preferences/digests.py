"""Digests of contents: the same turns have the same digest in every file and on every machine."""

from __future__ import annotations

import hashlib
import json

from curation.duplicates import folding
from curation.preferences.entries import Instruction, Pair, Ranking, Unpaired
from curation.preferences.messages import Conversation

_DIGEST_BYTES = 16


def pair_digest(pair: Pair) -> str:
    """Of prompt, answers and tools, to the character; margin and origin do not count."""
    return _digest(["pair", pair.tools, _turns(pair.prompt), _turns(pair.chosen), _turns(pair.rejected)])


def ranking_digest(ranking: Ranking) -> str:
    """Of prompt, answers, tools and scores."""
    answers = [_turns(response) for response in ranking.responses]
    return _digest(["ranking", ranking.tools, _turns(ranking.prompt), answers, ranking.scores])


def instruction_digest(instruction: Instruction) -> str:
    """Of turns and tools, to the character."""
    return _digest(["instruction", instruction.tools, _turns(instruction.messages)])


def question_digest(answer: Unpaired) -> str:
    """Of all that a good and a bad answer share to be a pair, to the character: see ``pair_unpaired``."""
    origin = [answer.source, answer.language, answer.license]
    return _digest(["question", answer.tools, _turns(answer.prompt), origin])


def prompt_digest(prompt: Conversation) -> str:
    """Of a prompt as ``normalised`` writes it: the same for spellings that differ in case, width or spaces."""
    return _digest(["prompt", [[message.role, normalised(message.content)] for message in prompt]])


def normalised(text: str) -> str:
    """Folded NFKC with one space for any white space, in near linear time whatever the text is."""
    return " ".join(folding.normalised(text).split())


def _turns(messages: Conversation) -> list[list[str]]:
    return [[message.role, message.content] for message in messages]


def _digest(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()
