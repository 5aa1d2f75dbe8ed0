"""Hostile text made harmless and visible.

Jinja escapes what HTML would take for markup.  What is left are characters that change how other text is shown:
controls, bidirectional overrides (CVE-2021-42574, "Trojan Source"), invisible ones and halves of surrogate pairs.  Each
is shown as its code point in a mark of its own, and the whole is isolated from the text around it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from markupsafe import Markup, escape

# Cc but tab and line ends, Cf (all bidirectional controls, joiners, tags), surrogates, line and paragraph separators,
# private use, noncharacters, fillers that look like nothing.  Not the two selectors that emoji have.
_MARKED = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\xad\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u115f\\u1160\\u17b4\\u17b5"
    "\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ue000-\\uf8ff\\ufdd0-\\ufdef"
    "\\ufe00-\\ufe0d\\ufeff\\uffa0\\ufff0-\\uffff\\U00013430-\\U00013455\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a"
    "\\U000e0000-\\U000e0fff\\U000f0000-\\U0010ffff]"
)
_STACK = re.compile(
    "([\\u0300-\\u036f\\u0483-\\u0489\\u1ab0-\\u1aff\\u1dc0-\\u1dff\\u20d0-\\u20ff\\ufe20-\\ufe2f]{8})"
    "[\\u0300-\\u036f\\u0483-\\u0489\\u1ab0-\\u1aff\\u1dc0-\\u1dff\\u20d0-\\u20ff\\ufe20-\\ufe2f]+"
)


CUT = Markup('<span class="cut" title="cut">…</span>')


def visible(text: Any, limit: int | None = None) -> Markup:
    """Markup of a text that came from outside; with ``limit``, of its first characters."""
    whole = "" if text is None else str(text)
    parts = shown(whole if limit is None else whole[:limit])
    if limit is not None and len(whole) > limit:
        parts += CUT
    return Markup('<bdi class="said">{}</bdi>').format(parts)


def shown(text: str) -> Markup:
    """The same without isolating it, for a stretch of what is isolated as a whole."""
    parts, at = [], 0
    text = _STACK.sub("\\1…", text)
    for found in _MARKED.finditer(text):
        parts += [escape(text[at : found.start()]), _mark(found[0])]
        at = found.end()
    parts.append(escape(text[at:]))
    return Markup("").join(parts)


def _mark(character: str) -> Markup:
    number = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "")
    return Markup('<span class="hidden-character" title="{}">{}</span>').format(f"{number} {name}".strip(), number)


def plain(text: Any) -> str:
    """The same for places that hold no markup: titles, labels, attributes, figures."""
    return _MARKED.sub(lambda found: f"<U+{ord(found[0]):04X}>", "" if text is None else str(text))
