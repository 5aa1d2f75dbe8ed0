"""Rated answers that wait for a counterpart while a shard is read.

They may be all of the shard, so they wait in a temporary file; memory holds where each of them lies, by a digest of
what it answers.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from dataclasses import replace
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple, Self

from curation.preferences import Message, Unpaired, question_digest
from curation.preferences.messages import as_dicts

# Fewer bytes than these are not worth a file.
SPOOL_BYTES = 1 << 20

Row = dict[str, Any]


class Waiting(NamedTuple):
    """An answer, and the row of its record."""

    answer: Unpaired
    row: Row


class WaitingAnswers:
    """The answers of one shard that have no counterpart yet."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115  # closed by ``__exit__``
        self._good: dict[str, list[int]] = {}
        self._bad: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def meet(self, answer: Unpaired, row: Row) -> Waiting | None:
        """The oldest answer that waits for this one; where there is none, None, and this one waits.

        Args:
            row: plain values; ``record_id`` is the answer's own id.
        """
        question = question_digest(answer)
        own, others = (self._good, self._bad) if answer.good else (self._bad, self._good)
        if question not in others:
            own.setdefault(question, []).append(self._write([row, as_dicts(answer.response)]))
            return None
        # Places grow, so the least is the oldest, and a list to which they are appended is a heap.
        places = others[question]
        place = heapq.heappop(places)
        if not places:
            del others[question]
        found, turns = self._read(place)
        response = tuple(Message(**turn) for turn in turns)
        return Waiting(replace(answer, response=response, source_id=found["record_id"], good=not answer.good), found)

    def rest(self) -> Iterator[Row]:
        """Rows of the answers that wait still, in the order in which they came."""
        queues = [*self._good.values(), *self._bad.values()]
        for place in sorted(place for queue in queues for place in queue):
            yield self._read(place)[0]

    def _write(self, value: object) -> int:
        """Append a line; return where it begins."""
        place = self._file.seek(0, 2)
        self._file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
        return place

    def _read(self, place: int) -> Any:
        self._file.seek(place)
        return json.loads(self._file.readline())
