"""The last step of extraction: text that is valid UTF-8, without control characters, in plain lines."""

from __future__ import annotations

import re

# Everything that ends a line for Unicode (UAX #14, class BK, CR and NL).
_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# Control characters other than tab and line feed, byte order marks, and halves of surrogate pairs.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")
_BLANK_LINES = re.compile("\n{3,}")


def clean(text: str) -> str:
    """Plain text with ``\\n`` as line end, at most one blank line in a row, and no trailing space."""
    text = _UNWANTED.sub("", _LINE_END.sub("\n", text))
    # Not one regular expression: ``[^\S\n]+\n`` takes quadratic time over a long run of spaces.
    lines = "\n".join([line.rstrip() for line in text.split("\n")])
    return _BLANK_LINES.sub("\n\n", lines).strip("\n")


def clean_line(text: str, limit: int) -> str:
    """One line of at most ``limit`` characters, such as a title."""
    return " ".join(clean(text[: 4 * limit]).split())[:limit].rstrip()
