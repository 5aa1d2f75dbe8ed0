"""What can be done about pairs that contradict each other; told in full where it is done."""

from __future__ import annotations

from typing import Literal

ConflictPolicy = Literal["drop-both", "majority", "keep-margin", "keep"]
Combine = Literal["sum", "max"]
CyclePolicy = Literal["drop-component", "keep-margin", "keep"]
