"""Signatures of webhooks as Standard Webhooks 1.0 has them (github.com/standard-webhooks/standard-webhooks).

What is signed is ``<id>.<timestamp>.<body>``, by HMAC-SHA256 (RFC 2104).  A secret is ``whsec_`` and 24 to 64 random
bytes in base64.  The id stays the same over all attempts, so that receivers know a repetition; the timestamp is that
of the attempt, so that an old request cannot be played again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

from curation.errors import InputError

PREFIX = "whsec_"
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = 300  # seconds that a timestamp may be off, either way

_MIN_BYTES, _MAX_BYTES = 24, 64
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")  # no full stop: it ends the id in what is signed
_TIMESTAMP = re.compile(r"[0-9]{1,15}")


def new_secret() -> str:
    """A random secret of 256 bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Signature of a message, ``v1,<base64>``.

    Args:
        timestamp: of the attempt, whole seconds since the epoch.

    Raises:
        InputError: the secret, the id or the timestamp has not the form that the standard asks for.
    """
    key = _key(secret)
    if not _MESSAGE_ID.fullmatch(message_id):
        raise InputError("the id of a message consists of 1 to 256 letters, digits, _ and -")
    if timestamp < 0:
        raise InputError("the timestamp of a message is not before 1970")
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message; arguments and errors are those of ``sign``."""
    signature = sign(secret, message_id, timestamp, body)
    return {ID: message_id, TIMESTAMP: str(timestamp), SIGNATURE: signature}


def verify(secret: str, received: Mapping[str, str], body: bytes, *, now: float, tolerance: float = TOLERANCE) -> bool:
    """Whether a request was signed with a secret, lately.

    Args:
        received: headers of the request; the case of their names does not matter.
        body: as it came, byte for byte.
        now: seconds since the epoch.
        tolerance: seconds that the timestamp may lie before or after ``now``.

    Raises:
        InputError: the secret has not the form that the standard asks for.
    """
    _key(secret)  # a wrong secret is the receiver's own mistake, not a forged request
    lower = {name.lower(): value for name, value in received.items()}
    message_id, timestamp = lower.get(ID, ""), lower.get(TIMESTAMP, "")
    if not _MESSAGE_ID.fullmatch(message_id) or not _TIMESTAMP.fullmatch(timestamp):
        return False
    if abs(now - int(timestamp)) > tolerance:
        return False
    # What was signed are the digits as sent; leading zeros would make two spellings of one time.
    expected = sign(secret, message_id, int(timestamp), body) if str(int(timestamp)) == timestamp else ""
    given = lower.get(SIGNATURE, "").split(" ")  # several while a secret is being replaced
    # Every one is compared, in constant time: how long it takes says nothing about how much of one was right.
    fits = [hmac.compare_digest(one.encode("utf-8", "replace"), expected.encode()) for one in given]
    return expected != "" and any(fits)


def _key(secret: str) -> bytes:
    """The bytes of a secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not _MIN_BYTES <= len(key) <= _MAX_BYTES:
        raise InputError(f"the secret of a webhook is {PREFIX} and {_MIN_BYTES} to {_MAX_BYTES} bytes in base64")
    return key
