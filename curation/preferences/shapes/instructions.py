"""Records with a conversation to learn from."""

from __future__ import annotations

from curation.preferences.checked import checked_instruction
from curation.preferences.common import Fields, common_of
from curation.preferences.entries import Instruction
from curation.preferences.limits import Limits
from curation.preferences.messages import read_messages
from curation.preferences.shapes.alpaca_prompt import alpaca_prompt
from curation.preferences.shapes.base import Shape, carriers, has
from curation.preferences.sides import prompt_of, response_of, with_system

# A record that has any of these says which answer is better, or means to; it is no instruction.
PREFERENCE_FIELDS = (
    "chosen",
    "rejected",
    "preferred_output",
    "non_preferred_output",
    "response1",
    "response2",
    "response 1",
    "response 2",
    "output_1",
    "output_2",
    "responses",
    "completions",
)


def _plain(record: Fields, carrier: str) -> bool:
    """Whether this field alone holds what was asked, and nothing says which answer is better."""
    return carriers(record) == {carrier} and not any(has(record, name) for name in PREFERENCE_FIELDS)


def _is_alpaca(record: Fields) -> bool:
    return has(record, "output") and not isinstance(record["output"], list) and _plain(record, "instruction")


def _read_alpaca(record: Fields, limits: Limits) -> Instruction:
    answer = response_of(record["output"], "output", limits)
    return checked_instruction((*alpaca_prompt(record, limits), *answer), common_of(record, limits))


def _is_sharegpt(record: Fields) -> bool:
    return _plain(record, "conversations")


def _is_openai(record: Fields) -> bool:
    return _plain(record, "messages")


def _read_messages(record: Fields, limits: Limits) -> Instruction:
    where = "messages" if has(record, "messages") else "conversations"
    messages = read_messages(record[where], where, limits)
    return checked_instruction(with_system(record.get("system"), messages, limits), common_of(record, limits))


def _is_prompt_response(record: Fields) -> bool:
    return _plain(record, "prompt") and has(record, "response") != has(record, "completion")


def _read_prompt_response(record: Fields, limits: Limits) -> Instruction:
    name = "response" if has(record, "response") else "completion"
    prompt = with_system(record.get("system"), prompt_of(record["prompt"], "prompt", limits), limits)
    messages = (*prompt, *response_of(record[name], name, limits))
    return checked_instruction(messages, common_of(record, limits))


ALPACA = Shape("alpaca", "instruction", _is_alpaca, _read_alpaca)
SHAREGPT = Shape("sharegpt", "instruction", _is_sharegpt, _read_messages)
OPENAI = Shape("openai", "instruction", _is_openai, _read_messages)
PROMPT_RESPONSE = Shape("prompt-response", "instruction", _is_prompt_response, _read_prompt_response)

INSTRUCTION_SHAPES = (ALPACA, SHAREGPT, OPENAI, PROMPT_RESPONSE)
