"""Digests as WARC headers give them."""

from __future__ import annotations

import hashlib
from base64 import b32encode

_ALGORITHMS = {"sha1", "sha256", "sha512", "md5"}


def digest_holds(declared: str, block: bytes) -> bool | None:
    """Whether a block has the digest that its header declares.

    Args:
        declared: ``algorithm:value`` as in WARC-Block-Digest; the value in base32 (with or without padding)
            or hexadecimal, both of which are in use.

    Returns:
        None where the algorithm or the form of the value is unknown, so that nothing can be said.
    """
    label, _, value = declared.partition(":")
    algorithm = label.strip().lower().replace("-", "")
    if algorithm not in _ALGORITHMS:
        return None
    digest = hashlib.new(algorithm, block, usedforsecurity=False)
    value = value.strip().rstrip("=")
    base32 = b32encode(digest.digest()).decode("ascii").rstrip("=")
    if len(value) == len(base32):
        return value.upper() == base32
    if len(value) == 2 * digest.digest_size:
        return value.lower() == digest.hexdigest()
    return None
