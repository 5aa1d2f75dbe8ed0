"""Shares as exact fractions."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

from curation.errors import InputError


def as_share(value: str | float | Fraction, what: str) -> Fraction:
    """A share as an exact fraction; ``0.05`` and ``"0.05"`` are 1/20.

    Args:
        value: between 0 and 1, both excluded.
        what: its name, for the message.

    Raises:
        InputError: no number, or outside.
    """
    try:
        share = value if isinstance(value, Fraction) else Fraction(Decimal(str(value)))
    except (InvalidOperation, ValueError, OverflowError):
        raise InputError(f"{what} {value!r} is not a decimal number") from None
    if not 0 < share < 1:
        raise InputError(f"{what} must lie between 0 and 1, both excluded, not {value}")
    return share
