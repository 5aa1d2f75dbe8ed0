"""What may be logged of a value: everything but secrets, known by their names and by their looks.

Where in doubt, more is masked: a log line that says too little costs a question, one that says too much costs a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

MASK = "***"
CUT = "…"  # stands for what lies too deep, or is too much
MAX_DEPTH = 12
MAX_VALUES = 10_000  # of one call: values that contain themselves, or one another many times, end here

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ALWAYS = re.compile(r"passw(?:or)?d|passphrase|secret|authori[sz]ation|credential", re.IGNORECASE)
_SECRET_WORD = re.compile(r".*(?:token|key|dsn)|pwd|cookie|bearer", re.IGNORECASE)
_PLURAL = re.compile(r".*(?:token|key|dsn|cookie)s", re.IGNORECASE)
# `key_id` is no key, `token_count` no token.
_HARMLESS_LAST = frozenset({"id", "ids", "name", "names", "count", "counts", "type"})

_API_KEY = re.compile(r"gm_(?:([a-z2-7]{16})_)?[A-Za-z0-9_-]+")
_WEBHOOK_SECRET = re.compile(r"whsec_(?:[A-Za-z0-9+/=_-]|%[0-9A-Fa-f]{2})+")
_BEARER = re.compile(r"\b(bearer|basic)([ +]+|%20)[A-Za-z0-9._~+/=%-]{8,}", re.IGNORECASE)
# `password=…` of connection strings and queries, `'token': '…'` of what was printed.
_ASSIGNED = re.compile(
    r"""((?:passw(?:or)?d|passphrase|pwd|secret|token|dsn|authorization|(?:api|access|secret|private)[_-]?key)
        ["']?\s{0,4}[=:]\s{0,4})   # the name, perhaps quoted, and the sign
        (?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s&,;"'}\])]+)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_CHUNK = re.compile(r"\S+")
_END_OF_USER = re.compile(r"[:/?#]")


def redact(value: Any) -> Any:
    """A copy of a value without secrets, for logs.

    - What stands under a name like ``password``, ``api_key`` or ``Authorization`` becomes ``***``.
    - Keys of the API (``gm_…``; their id stays), secrets of webhooks (``whsec_…``), passwords in URLs, also where
      they are not encoded, and ``password=…`` become ``***`` anywhere inside a text.
    - Mappings become dicts, sets and tuples tuples; bytes, and objects that are none of these, become their text.

    It never raises, and never changes its argument.  Not found are secrets without name and form, and what follows a
    space in a password within a URL.
    """
    return _redact(value, 0, iter(range(MAX_VALUES)))


def _redact(value: Any, depth: int, left: Iterator[int]) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value)
    if depth >= MAX_DEPTH or next(left, None) is None:
        return CUT
    if isinstance(value, Mapping):
        return {_key(key): _member(key, member, depth + 1, left) for key, member in value.items()}
    if isinstance(value, list):
        return [_redact(member, depth + 1, left) for member in value]
    if isinstance(value, tuple | AbstractSet):
        return tuple(_redact(member, depth + 1, left) for member in value)
    return _text(_printed(value))


def _key(key: Any) -> Any:
    """A key of a mapping; names can hold secrets, too, where they come from outside."""
    return key if key is None or isinstance(key, bool | int | float) else _text(_printed(key))


def _member(key: Any, value: Any, depth: int, left: Iterator[int]) -> Any:
    return MASK if _is_secret(_printed(key), value) else _redact(value, depth, left)


def _is_secret(name: str, value: Any) -> bool:
    """Whether a name says that what it names is a secret."""
    if value is None or isinstance(value, bool):  # whether there is one may be known
        return False
    if _ALWAYS.search(name):
        return True
    words = _WORDS.findall(name)
    if not words or words[-1].lower() in _HARMLESS_LAST:
        return False
    if any(_SECRET_WORD.fullmatch(word) for word in words):
        return True
    # `tokens: 512` counts what models read; `tokens: [...]` does not.
    return any(_PLURAL.fullmatch(word) for word in words) and not isinstance(value, int | float)


def _printed(value: Any) -> str:
    """A value as text; an object's own ``__str__`` may fail, which is no reason to lose the line."""
    try:
        return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _text(text: str) -> str:
    """A text without secrets."""
    text = _CHUNK.sub(lambda found: _mask_userinfo(found[0]), text)
    text = _WEBHOOK_SECRET.sub("whsec_" + MASK, text)
    text = _API_KEY.sub(lambda found: f"gm_{found[1]}_{MASK}" if found[1] else "gm_" + MASK, text)
    text = _BEARER.sub(rf"\1\2{MASK}", text)
    return _ASSIGNED.sub(rf"\1{MASK}", text)


def _mask_userinfo(chunk: str) -> str:
    """Mask the password of a URL (RFC 3986, section 3.2.1), or all of what stands before the @ if there is no colon.

    The password goes to the last @ of the chunk: those of object stores hold slashes, and those of people hold @, and
    both are met unencoded.  That can mask some of the path of a URL with a port; never less than the password.
    """
    end = chunk.rfind("@")
    start = chunk.find("://")
    while -1 < start < end:
        start += len("://")
        found = _END_OF_USER.search(chunk, start, end)
        if found is None:
            return chunk[:start] + MASK + chunk[end:]
        if found[0] == ":":
            return chunk[: found.end()] + MASK + chunk[end:]
        start = chunk.find("://", start)  # the @ belongs to a path; perhaps another URL is in it
    return chunk
