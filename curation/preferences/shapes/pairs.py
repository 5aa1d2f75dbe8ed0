"""Records with a chosen and a rejected answer."""

from __future__ import annotations

from curation.preferences.checked import checked_pair
from curation.preferences.common import Fields, common_of, margin_of, ranking_id_of
from curation.preferences.entries import Pair
from curation.preferences.limits import Limits
from curation.preferences.messages import Conversation, read_messages
from curation.preferences.shapes.alpaca_prompt import alpaca_prompt
from curation.preferences.shapes.base import Shape, carriers, has
from curation.preferences.sides import prompt_of, response_of, with_system
from curation.preferences.split import split_sides, whole_sides, without_prompt
from curation.preferences.transcripts import is_transcript, split_prompt


def _sides(record: Fields, *types: type) -> bool:
    """Whether both answers are there and both of one of these types."""
    return any(isinstance(record.get("chosen"), type_) and isinstance(record.get("rejected"), type_) for type_ in types)


def _finish(record: Fields, prompt: Conversation, chosen: Conversation, rejected: Conversation, limits: Limits) -> Pair:
    prompt = with_system(record.get("system"), prompt, limits)
    return checked_pair(prompt, chosen, rejected, margin_of(record), ranking_id_of(record), common_of(record, limits))


def _answers(record: Fields, limits: Limits) -> tuple[Conversation, Conversation]:
    return response_of(record["chosen"], "chosen", limits), response_of(record["rejected"], "rejected", limits)


def _is_hh(record: Fields) -> bool:
    if not _sides(record, str):
        return False
    if not carriers(record):
        return is_transcript(record["chosen"]) or is_transcript(record["rejected"])
    return carriers(record) == {"prompt"} and is_transcript(record["prompt"])


def _read_hh(record: Fields, limits: Limits) -> Pair:
    if not has(record, "prompt"):
        return _finish(record, *split_sides(*whole_sides(record["chosen"], record["rejected"], limits)), limits)
    prompt = split_prompt(record["prompt"], "prompt", limits)
    # The space between the marker and the answer belongs to the marker.
    spoken = {name: record[name].removeprefix(" ") for name in ("chosen", "rejected")}
    return _finish(record, prompt, *_answers(spoken, limits), limits)


def _is_trl_conversational(record: Fields) -> bool:
    names = carriers(record)
    if _sides(record, list):
        return names in (set(), {"prompt"}, {"prompt", "messages"})
    return _sides(record, dict) and names == {"prompt"}


def _read_trl_conversational(record: Fields, limits: Limits) -> Pair:
    if not has(record, "prompt"):
        return _finish(record, *split_sides(*whole_sides(record["chosen"], record["rejected"], limits)), limits)
    prompt = prompt_of(record["prompt"], "prompt", limits)
    is_text = isinstance(record["prompt"], str)
    return _finish(record, *without_prompt(prompt, *_answers(record, limits), prompt_is_text=is_text), limits)


def _is_trl_plain(record: Fields) -> bool:
    return _sides(record, str) and carriers(record) == {"prompt"} and not is_transcript(record["prompt"])


def _read_trl_plain(record: Fields, limits: Limits) -> Pair:
    return _finish(record, prompt_of(record["prompt"], "prompt", limits), *_answers(record, limits), limits)


def _is_sharegpt(record: Fields) -> bool:
    return _sides(record, dict, list, str) and carriers(record) == {"conversations"}


def _read_sharegpt(record: Fields, limits: Limits) -> Pair:
    prompt = read_messages(record["conversations"], "conversations", limits)
    return _finish(record, prompt, *_answers(record, limits), limits)


def _is_messages(record: Fields) -> bool:
    return _sides(record, dict, list, str) and carriers(record) == {"messages"}


def _read_messages(record: Fields, limits: Limits) -> Pair:
    prompt = read_messages(record["messages"], "messages", limits)
    return _finish(record, prompt, *_answers(record, limits), limits)


def _is_alpaca(record: Fields) -> bool:
    return _sides(record, str, dict, list) and carriers(record) == {"instruction"}


def _read_alpaca(record: Fields, limits: Limits) -> Pair:
    prompt = alpaca_prompt(record, limits)
    common = common_of(record, limits)
    return checked_pair(prompt, *_answers(record, limits), margin_of(record), ranking_id_of(record), common)


def _is_openai(record: Fields) -> bool:
    names = ("preferred_output", "non_preferred_output")
    return has(record, *names) and isinstance(record.get("input"), dict) and not carriers(record)


def _read_openai(record: Fields, limits: Limits) -> Pair:
    given = record["input"]
    prompt = read_messages(given.get("messages"), "input.messages", limits)
    chosen = response_of(record["preferred_output"], "preferred_output", limits)
    rejected = response_of(record["non_preferred_output"], "non_preferred_output", limits)
    tools = {"tools": given["tools"]} if given.get("tools") is not None else {}
    return _finish({**record, **tools}, prompt, chosen, rejected, limits)


HH_RLHF = Shape("hh-rlhf", "pair", _is_hh, _read_hh)
TRL_CONVERSATIONAL = Shape("trl-conversational", "pair", _is_trl_conversational, _read_trl_conversational)
TRL_PLAIN = Shape("trl-plain", "pair", _is_trl_plain, _read_trl_plain)
SHAREGPT_PREFERENCE = Shape("sharegpt-preference", "pair", _is_sharegpt, _read_sharegpt)
MESSAGES_PREFERENCE = Shape("messages-preference", "pair", _is_messages, _read_messages)
ALPACA_PREFERENCE = Shape("alpaca-preference", "pair", _is_alpaca, _read_alpaca)
OPENAI_DPO = Shape("openai-dpo", "pair", _is_openai, _read_openai)

PAIR_SHAPES = (
    HH_RLHF,
    TRL_CONVERSATIONAL,
    TRL_PLAIN,
    SHAREGPT_PREFERENCE,
    MESSAGES_PREFERENCE,
    ALPACA_PREFERENCE,
    OPENAI_DPO,
)
