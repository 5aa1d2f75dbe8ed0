"""What an evaluation wrote, line by line: a file is read from a line on, up to a number of lines and of bytes."""

from __future__ import annotations

from typing import BinaryIO, Literal, NamedTuple

File = Literal["responses.jsonl", "answers.jsonl", "documents.jsonl", "a/documents.jsonl", "b/documents.jsonl"]
MOST_BYTES = 4 << 20  # of an answer, unless a single line is longer


class Part(NamedTuple):
    """Some lines of a file.

    lines: as they are.
    next: number of the line behind them; None at the end.
    """

    lines: bytes
    next: int | None


def part_of(stream: BinaryIO, after: int, limit: int) -> Part:
    """Lines behind the first ``after`` ones."""
    lines: list[bytes] = []
    size = 0
    for number, line in enumerate(stream):
        if number < after:
            continue
        if len(lines) == limit or (lines and size + len(line) > MOST_BYTES):
            return Part(b"".join(lines), number)
        lines.append(line)
        size += len(line)
    return Part(b"".join(lines), None)
