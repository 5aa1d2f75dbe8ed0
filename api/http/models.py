"""What bodies have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$", min_length=1, max_length=100)]


Text = str  # every text of a body is checked as a whole


def _nul_free(text: str) -> str:
    check_texts(text)
    return text


NoNul = Annotated[str, AfterValidator(_nul_free)]  # of queries and paths


def example(**values: Any) -> ConfigDict:
    """Configuration of a body with an example, for its description."""
    return ConfigDict(json_schema_extra={"examples": [values]})


class Body(BaseModel):
    """A body that is sent; unknown names are errors, and so is what no database and no JSON can hold."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_max_length=1 << 20)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, data: Any) -> Any:
        check_texts(data)
        return data


def check_texts(data: Any) -> None:
    """Refuse halves of characters and NUL, in keys too, and numbers that are none or endless.

    Raises:
        ValueError: naming the place.
    """
    stack: list[tuple[str, Any]] = [("", data)]
    while stack:
        at, value = stack.pop()
        if isinstance(value, str):
            if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError(f"the text at {at or 'the top'} holds NUL or half a character")
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"the number at {at or 'the top'} is not finite")
        elif isinstance(value, Mapping):
            for key, one in value.items():
                stack += [(f"a key of {at or 'the top'}", key), (f"{at}/{str(key)[:50]!a}", one)]
        elif isinstance(value, list | tuple):
            stack += [(f"{at}/{place}", one) for place, one in enumerate(value)]
