"""What bodies have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$", min_length=1, max_length=100)]


def _printable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("text holds no NUL")
    return text


Text = Annotated[str, AfterValidator(_printable)]


class Body(BaseModel):
    """A body that is sent; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_max_length=1 << 20)
