"""API keys: ``gm_<id>_<secret>``.

The id, 80 random bits, is no secret: it finds the row, and stands in logs.  The secret holds 256 random bits, and its
plain SHA-256 is stored.  Slow, salted hashes are for what people choose and others can guess; what has at least 112
bits of entropy needs one approved one-way function and no more (NIST SP 800-63B, section 5.1.2.2, on look-up
secrets).  A slow one would only make every request slow.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

# The last of 43 characters in base64url (RFC 4648, section 5) carries 4 of the 256 bits; its other two are zero.
_KEY = re.compile(r"gm_([a-z2-7]{16})_([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])")


@dataclass(frozen=True)
class NewKey:
    """A key as it is made; only id and digest are stored.

    Attributes:
        id: 16 characters of lower-case base32.
        text: the whole key, to be shown once; not in ``repr``, which ends up in logs.
        digest: of its secret.
    """

    id: str
    text: str = field(repr=False)
    digest: str


def new_key() -> NewKey:
    """A random key."""
    id_ = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    secret = secrets.token_urlsafe(32)
    return NewKey(id_, f"gm_{id_}_{secret}", digest_of(secret))


def digest_of(secret: str) -> str:
    """SHA-256 (FIPS 180-4), 64 hexadecimal characters."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def parse(text: str) -> tuple[str, str] | None:
    """Id and secret of a key; None for anything that is not exactly one."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def matches(secret: str, digest: str) -> bool:
    """Whether a secret has a digest, in a time that does not depend on how much of it fits."""
    return hmac.compare_digest(digest_of(secret), digest)
