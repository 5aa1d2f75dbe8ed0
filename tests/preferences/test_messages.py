"""Messages: roles, contents, calls of tools, and who may follow whom."""

from __future__ import annotations

import json
from typing import Any

import pytest

from curation.errors import DocumentError
from curation.preferences import Limits, Message
from curation.preferences.limits import DEFAULT_LIMITS
from curation.preferences.messages import (
    check_conversation,
    check_prompt,
    check_response,
    read_messages,
    role_of,
)


def turns(letters: str) -> tuple[Message, ...]:
    """``sua`` is a system text, a question, an answer; ``t`` a tool."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return tuple(Message(roles[letter], letter) for letter in letters)  # type: ignore[arg-type]


def read(*items: Any) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in read_messages(list(items), "messages", DEFAULT_LIMITS)]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("human", "user"),
        ("User", "user"),
        ("prompter", "user"),
        ("gpt", "assistant"),
        ("chatgpt", "assistant"),
        ("BOT", "assistant"),
        ("model", "assistant"),
        ("function_call", "assistant"),
        ("observation", "tool"),
        ("function", "tool"),
        ("developer", "system"),
    ],
)
def test_roles(name: str, role: str) -> None:
    assert role_of(name, "here") == role


@pytest.mark.parametrize("name", ["", "narrator", " user", "usеr", None, 5, [], "user" * 10_000_000])
def test_unknown_roles(name: object) -> None:
    with pytest.raises(DocumentError) as caught:
        role_of(name, "here")
    assert caught.value.error_class == "wrong-role"
    assert len(caught.value.detail) < 100


def test_openai_calls_of_tools() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "time", "arguments": '{"zone":"UTC"}'}}]
    said = read(
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": "I shall look.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
        {"role": "assistant", "content": None, "function_call": {"name": "time", "arguments": "{}"}},
    )
    assert [role for role, _ in said] == ["user", "assistant", "assistant", "tool", "assistant"]
    assert said[1][1] == "I shall look."
    assert json.loads(said[2][1]) == calls
    assert said[4][1] == '{"name":"time","arguments":"{}"}'


def test_parts() -> None:
    assert read({"role": "user", "content": [{"type": "text", "text": "hello"}]}) == [("user", "hello")]


@pytest.mark.parametrize(
    ("items", "error_class"),
    [
        ("hello", "not-a-list"),
        (None, "not-a-list"),
        (["hello"], "malformed-message"),
        ([{}], "malformed-message"),
        ([{"role": "user"}], "malformed-message"),
        ([{"role": "user", "from": "human", "content": "x", "value": "x"}], "malformed-message"),
        ([{"role": "user", "content": None}], "not-a-string"),
        ([{"role": "user", "content": 7}], "not-a-string"),
        ([{"role": "user", "content": {"text": "x"}}], "not-a-string"),
        ([{"role": "user", "content": []}], "unsupported-content"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "unsupported-content"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}] * 2}], "unsupported-content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "not-a-string"),
        ([{"role": "user", "content": "x", "tool_calls": [{}]}], "wrong-role"),
        ([{"role": "assistant", "content": "x", "tool_calls": "call"}], "malformed-message"),
        ([{"role": "user", "content": "x"}, {"from": "gpt", "value": "x"}], "mixed-schema"),
        ([{"role": "user", "content": "x" * 101}], "too-long"),
        ([{"role": "user", "content": "x"}] * 11, "too-many-turns"),
    ],
)
def test_malformed(items: object, error_class: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_messages(items, "messages", Limits(text_characters=100, turns=10))
    assert caught.value.error_class == error_class


@pytest.mark.parametrize("order", ["u", "su", "uau", "suatatau", "uaau", "uat", "uatt"])
def test_prompts(order: str) -> None:
    check_prompt(turns(order))


@pytest.mark.parametrize(
    ("order", "error_class"),
    [
        ("", "empty-prompt"),
        ("s", "empty-prompt"),
        ("a", "wrong-role"),
        ("t", "wrong-role"),
        ("ss", "wrong-role"),
        ("us", "wrong-role"),
        ("uu", "wrong-role"),
        ("ut", "wrong-role"),
        ("uatu", "wrong-role"),
        ("ua", "wrong-role"),
        ("sa", "wrong-role"),
    ],
)
def test_wrong_prompts(order: str, error_class: str) -> None:
    with pytest.raises(DocumentError) as caught:
        check_prompt(turns(order))
    assert caught.value.error_class == error_class


def test_a_prompt_says_something() -> None:
    check_prompt((Message("user", "go"), Message("assistant", ""), Message("user", " ")))
    with pytest.raises(DocumentError, match="empty-prompt"):
        check_prompt((Message("system", "Be kind."), Message("user", "\n\t")))


@pytest.mark.parametrize("order", ["a", "aa", "ata", "auaa", "atta"])
def test_responses(order: str) -> None:
    check_response(turns("u"), turns(order), "chosen")


@pytest.mark.parametrize(
    ("order", "error_class"),
    [
        ("", "missing-response"),
        ("u", "wrong-role"),
        ("t", "wrong-role"),
        ("s", "wrong-role"),
        ("at", "missing-response"),
        ("au", "missing-response"),
        ("asa", "wrong-role"),
    ],
)
def test_wrong_responses(order: str, error_class: str) -> None:
    with pytest.raises(DocumentError) as caught:
        check_response(turns("u"), turns(order), "chosen")
    assert caught.value.error_class == error_class


def test_an_empty_text_is_a_response() -> None:
    check_response(turns("u"), (Message("assistant", ""),), "chosen")
    check_conversation((Message("user", "hi"), Message("assistant", "")))


def test_lone_surrogates_become_replacement_characters() -> None:
    ((_, content),) = read(json.loads('{"role": "user", "content": "a\\ud800b"}'))
    assert content.strip("\ufffd")[0] == "a" and set(content) == {"a", "\ufffd", "b"}
