"""The invariant that every reader keeps: no stored byte belongs to no record, none to two."""

from __future__ import annotations

from collections.abc import Iterable


def check_tiling(ranges: Iterable[tuple[int, int, int]], size: int | None) -> str | None:
    """Whether ranges lie end to end from 0 to ``size``.

    Args:
        ranges: ``(offset, length, inner_offset)`` of the records of one shard, in any order.  Records that
            share a compressed member share offset and length and differ in ``inner_offset``.
        size: where the last range must end; None where that is not known (decompressed line formats).

    Returns:
        None if they do, else one line that names the first fault.
    """
    position, last = 0, None
    for offset, inner, length in sorted((offset, inner, length) for offset, length, inner in ranges):
        if last is not None and offset == last[0]:
            if length != last[2]:
                return f"records at byte {offset} have lengths {last[2]} and {length}"
            if inner == last[1]:
                return f"two records at byte {offset}, inner offset {inner}"
        elif offset != position:
            fault = "gap" if offset > position else "overlap"
            return f"{fault}: a range ends at byte {position}, the next starts at {offset}"
        last = (offset, inner, length)
        position = offset + length
    if size is not None and position != size:
        return f"ranges end at byte {position}, the file at {size}"
    return None
