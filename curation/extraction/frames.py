"""Messages between the sandbox and its child: a few byte strings, each with its length in front."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

# ``receive(n)`` gives exactly n bytes or raises EOFError.
Receive = Callable[[int], bytes]

_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_FIELDS = 16


def pack(fields: Sequence[bytes | memoryview]) -> list[memoryview]:
    """The pieces to be written for one message, contents not copied."""
    views = [memoryview(field).cast("B") for field in fields]
    header = _COUNT.pack(len(views)) + b"".join(_LENGTH.pack(len(view)) for view in views)
    return [memoryview(header), *(view for view in views if len(view))]


def unpack(receive: Receive) -> list[bytes]:
    """Read one message.

    Raises:
        EOFError: when the other side is gone.
        ValueError: when what comes is no message.
    """
    (count,) = _COUNT.unpack(receive(_COUNT.size))
    if count > _FIELDS:
        raise ValueError(f"message of {count} fields")
    lengths = [length for (length,) in _LENGTH.iter_unpack(receive(_LENGTH.size * count))]
    return [receive(length) if length else b"" for length in lengths]
