"""Commands of forms: what the API refuses comes back to the form instead of becoming a page of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from api.problems import Problem, invalid

Model = TypeVar("Model", bound=BaseModel)
Answer = TypeVar("Answer")
BACK_TO_THE_FORM = ("invalid", "conflict")


def body_of(model: type[Model], body: dict[str, Any]) -> Model:
    """The body of a route, made from the fields of a form.

    Raises:
        Problem: with a fault for each thing that is wrong, its pointer into the body.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise invalid(error, body) from None


def tried(command: Callable[[], Answer]) -> tuple[Answer | None, Problem | None]:
    """What a command answers, or what people can mend in the form that asked for it.

    Raises:
        Problem: one that no other field would mend, such as a key that may not do that.
    """
    try:
        return command(), None
    except Problem as problem:
        if problem.code not in BACK_TO_THE_FORM:
            raise
        return None, problem


def lines_of(text: str) -> list[str]:
    """Lines of a field that hold something."""
    return [line.strip() for line in text.split("\n") if line.strip()]
