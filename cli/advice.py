"""``gristmill advise``: questions as options, or asked one by one where somebody sits at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import typer

from cli.remote import plain_json
from cli.show import terminal, visible
from curation.errors import InputError
from trainer.deploy.advise import advise, questions, table
from trainer.errors import ConfigError

console = terminal()


def advise_command(given: Mapping[str, Any], as_json: bool) -> None:
    """Advise on answers; those that are None were not given."""
    answers = {name: value for name, value in given.items() if value is not None}
    if "task" not in answers and sys.stdin.isatty():
        for question in questions():
            if question["name"] not in answers:
                answer = _ask(question)
                answers |= {} if answer == "" else {question["name"]: answer}
    try:
        plain = {question["name"]: _value(question, answers.get(question["name"])) for question in questions()}
        advice = advise(plain)
    except ConfigError as error:
        raise InputError(error.message, f"--{error.pointer.strip('/').replace('_', '-')}") from None
    if as_json:
        print(plain_json(advice.to_dict()))
    else:
        console.print(visible(table(advice)), soft_wrap=True)


def _ask(question: Mapping[str, Any]) -> str:
    choices = f" ({', '.join(question['choices'])})" if question["choices"] else ""
    unit = f" [{question['unit']}]" if question["unit"] else ""
    needed = question["name"] == "task"
    answer: str = typer.prompt(
        f"{question['text']}{choices}{unit}", default=None if needed else "", show_default=False, err=True
    )
    return answer.strip()


def _value(question: Mapping[str, Any], answer: str | None) -> Any:
    """An answer as the trees take it."""
    if answer is None or question["kind"] == "choice":
        return answer
    if question["kind"] == "shares":
        pairs = [part.partition("=") for part in answer.split(",")]
        return {name.strip(): _number(share, answer) if sign else 1.0 for name, sign, share in pairs}
    return _number(answer, answer)


def _number(text: str, whole: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return whole  # which is refused by whoever knows what is expected
