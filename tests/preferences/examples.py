"""One good record of every shape, and conversations for properties."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from curation.preferences import Message

USER = {"role": "user", "content": "Why is the sky blue?"}
GOOD = {"role": "assistant", "content": "Air scatters blue light most."}
BAD = {"role": "assistant", "content": "It mirrors the sea."}

EXAMPLES: dict[str, dict[str, Any]] = {
    "hh-rlhf": {
        "chosen": "\n\nHuman: Why is the sky blue?\n\nAssistant: Air scatters blue light most.",
        "rejected": "\n\nHuman: Why is the sky blue?\n\nAssistant: It mirrors the sea.",
    },
    "trl-conversational": {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
    "trl-plain": {"prompt": USER["content"], "chosen": GOOD["content"], "rejected": BAD["content"]},
    "sharegpt-preference": {
        "conversations": [{"from": "human", "value": USER["content"]}],
        "chosen": {"from": "gpt", "value": GOOD["content"]},
        "rejected": {"from": "gpt", "value": BAD["content"]},
    },
    "messages-preference": {"messages": [USER], "chosen": GOOD, "rejected": BAD},
    "alpaca-preference": {
        "instruction": USER["content"],
        "input": "",
        "chosen": GOOD["content"],
        "rejected": BAD["content"],
    },
    "openai-dpo": {"input": {"messages": [USER]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
    "pandalm": {
        "instruction": USER["content"],
        "input": "",
        "response1": BAD["content"],
        "response2": GOOD["content"],
        "annotator1": 2,
        "annotator2": 2,
        "annotator3": 0,
    },
    "alpaca-eval": {
        "instruction": USER["content"],
        "output_1": GOOD["content"],
        "output_2": BAD["content"],
        "preference": 1,
    },
    "auto-j": {
        "prompt": USER["content"],
        "response 1": GOOD["content"],
        "response 2": BAD["content"],
        "label": 0,
    },
    "alpaca-ranking": {
        "instruction": USER["content"],
        "input": "",
        "output": [GOOD["content"], BAD["content"]],
        "history": [],
    },
    "ultrafeedback": {
        "instruction": USER["content"],
        "completions": [
            {"response": BAD["content"], "overall_score": 2.0},
            {"response": GOOD["content"], "overall_score": 8.5},
        ],
    },
    "scored": {
        "prompt": USER["content"],
        "responses": [GOOD["content"], BAD["content"]],
        "scores": [0.9, 0.1],
    },
    "kto": {"messages": [USER, GOOD], "label": True},
    "alpaca": {"instruction": USER["content"], "input": "", "output": GOOD["content"]},
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": USER["content"]},
            {"from": "gpt", "value": GOOD["content"]},
        ]
    },
    "openai": {"messages": [USER, GOOD]},
    "prompt-response": {"prompt": USER["content"], "response": GOOD["content"]},
}

PROMPT = (Message("user", "Why is the sky blue?"),)
CHOSEN = (Message("assistant", "Air scatters blue light most."),)
REJECTED = (Message("assistant", "It mirrors the sea."),)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_asked = texts.filter(lambda text: bool(text.strip()))


@st.composite
def answers(draw: st.DrawFn) -> tuple[Message, ...]:
    """An answer of one turn, or of several with tools and further questions between."""
    turns = [Message("assistant", draw(texts))]
    for _ in range(draw(st.integers(0, 2))):
        between = draw(st.sampled_from(["tool", "user", None]))
        if between == "tool":
            turns.append(Message("tool", draw(texts)))
        elif between == "user":
            turns.append(Message("user", draw(texts)))
        turns.append(Message("assistant", draw(texts)))
    return tuple(turns)


@st.composite
def prompts(draw: st.DrawFn) -> tuple[Message, ...]:
    """A prompt that ends with a question."""
    turns = [Message("system", draw(texts))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        turns += [Message("user", draw(texts)), *draw(answers())]
    return (*turns, Message("user", draw(_asked)))
