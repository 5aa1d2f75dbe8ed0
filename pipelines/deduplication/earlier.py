"""Documents of earlier corpora: sorted runs of their band fingerprints and text hashes.

A run is immutable.  Its documents lie in parts, the Parquet files of published corpora, and are numbered through
all parts of all runs; these numbers come before those of a new run's own documents, so they have priority.
Fingerprints and hashes are sorted and cut by prefix, so that a new night reads each once, from end to end, and keeps
only what it shares with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError
from pipelines.compared import published_columns, published_texts
from pipelines.deduplication.records import Step, records
from pipelines.storage import Storage

PREFIXES = 256  # parts of a run's fingerprints and of its hashes

PRINT = np.dtype([("print", "<u8"), ("document", "<u4")])
TEXT_HASH = np.dtype([("hash", "<u8", (2,)), ("document", "<u4")])
ID = np.dtype([("id", "u1", (16,))])
PLACE = np.dtype([("shard", "<u4"), ("row", "<u4"), ("id", "u1", (16,))])


@dataclass(frozen=True)
class Part:
    """A Parquet file of an earlier corpus.

    Attributes:
        dataset: name of the corpus.
        version: which of its versions: the key of its publication.
        uri: root of the run that published it.
        file: below the root.
        rows: number of documents.
        bytes, digest: of the file.
    """

    dataset: str
    version: str
    uri: str
    file: str
    rows: int
    bytes: int
    digest: str

    @property
    def corpus(self) -> tuple[str, str, str]:
        """Which version of which corpus it belongs to: name, version, place."""
        return self.dataset, self.version, self.uri


@dataclass(frozen=True)
class Segment:
    """One sorted run.

    Attributes:
        step: its files.
        retracted: ``int64[m]``, rising, documents that count no more.
        versions: of the corpora that count; None for all.
    """

    step: Step
    retracted: np.ndarray
    versions: frozenset[str] | None = None

    @cached_property
    def parts(self) -> list[Part]:
        """Where its documents lie, in the order of their numbers."""
        return [Part(**part) for part in self.step.facts["parts"]]

    @property
    def documents(self) -> int:
        """How many there are, retracted ones included."""
        return sum(part.rows for part in self.parts)

    @cached_property
    def hidden(self) -> np.ndarray:
        """Documents that do not count, ``int64[m]``: retracted ones, and those of other versions."""
        bounds = np.concatenate([[0], np.cumsum([part.rows for part in self.parts])]).astype(np.int64)
        other = [np.arange(bounds[n], bounds[n + 1]) for n, part in enumerate(self.parts) if not self.counts(part)]
        return np.unique(np.concatenate([self.retracted, *other]))

    def counts(self, part: Part) -> bool:
        """Whether the documents of a part count."""
        return self.versions is None or part.version in self.versions

    def shared(self, name: str, first: int, end: int, wanted: np.ndarray) -> np.ndarray:
        """Records of a range of hashes, as far as they are wanted.

        Args:
            name: ``prints`` or ``hashes``.
            first, end: of 64-bit hashes.
            wanted: ``uint64[n]``, rising.
        """
        found = [np.empty(0, self.step.dtype(name))]
        width = (1 << 64) // PREFIXES
        for prefix in range(first // width, -(-end // width)):
            part = self.step.read(name, prefix)
            hashes = part["print"] if name == "prints" else part["hash"][:, 0]
            place = np.searchsorted(wanted, hashes)
            place[place == len(wanted)] = 0
            chosen = wanted[place] == hashes if len(wanted) else np.zeros(len(part), bool)
            chosen &= ~np.isin(part["document"], self.hidden)
            found.append(part[chosen])
        return np.concatenate(found)


@dataclass(frozen=True)
class Earlier:
    """All sorted runs that a recipe names, in its order."""

    segments: tuple[Segment, ...] = ()

    def plain(self) -> list[Any]:
        """What decisions depend on: which runs there are, and which of their documents count."""
        return [
            [segment.step.facts["key"], segment.retracted.tolist(), sorted({p.version for p in self._counted(segment)})]
            for segment in self.segments
        ]

    @staticmethod
    def _counted(segment: Segment) -> list[Part]:
        return [part for part in segment.parts if segment.counts(part)]

    def datasets(self) -> list[dict[str, str]]:
        """Name, version and place of each corpus, in the order of names."""
        found = {part.corpus for segment in self.segments for part in self._counted(segment)}
        return [{"dataset": dataset, "version": version, "uri": uri} for dataset, version, uri in sorted(found)]

    @cached_property
    def firsts(self) -> np.ndarray:
        """Number of the first document of each segment, and behind the last."""
        return np.concatenate([[0], np.cumsum([s.documents for s in self.segments])]).astype(np.int64)

    @property
    def documents(self) -> int:
        """How many numbers they take."""
        return int(self.firsts[-1])

    @cached_property
    def parts(self) -> list[Part]:
        """All parts of all segments: the holders of these documents."""
        return [part for segment in self.segments for part in segment.parts]

    @property
    def holders(self) -> int:
        """Number of parts."""
        return len(self.parts)

    @cached_property
    def part_firsts(self) -> np.ndarray:
        """Number of the first document of each part, and behind the last."""
        return np.concatenate([[0], np.cumsum([part.rows for part in self.parts])]).astype(np.int64)

    def prints(self, first: int, end: int, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fingerprints that a new run has too, and numbers of the documents that have them."""
        parts = [segment.shared("prints", first, end, wanted) for segment in self.segments]
        prints = [np.empty(0, np.uint64), *(part["print"] for part in parts)]
        return np.concatenate(prints), self._numbers(parts)

    def hashes(self, first: int, end: int, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Text hashes of which a new run has the first half too, ``uint64[n, 2]``, and numbers."""
        parts = [segment.shared("hashes", first, end, wanted) for segment in self.segments]
        hashes = [np.empty((0, 2), np.uint64), *(part["hash"] for part in parts)]
        return np.concatenate(hashes), self._numbers(parts)

    def _numbers(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        numbers = [part["document"].astype(np.int64) + first for part, first in zip(parts, self.firsts, strict=False)]
        return np.concatenate([np.empty(0, np.int64), *numbers])

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Where documents lie, ``shard`` being the part; ``numbers`` rising."""
        if not len(numbers):
            return np.empty(0, PLACE)
        part = np.searchsorted(self.part_firsts, numbers, "right") - 1
        ids = []
        for segment, first, end in zip(self.segments, self.firsts, self.firsts[1:], strict=False):
            inside = numbers[(numbers >= first) & (numbers < end)] - first
            ids.append(segment.step.read("ids", 0)["id"][inside] if len(inside) else np.empty((0, 16), np.uint8))
        return records(PLACE, shard=part, row=numbers - self.part_firsts[part], id=np.concatenate(ids))

    def texts(self, part: int, rows: np.ndarray) -> Iterator[tuple[np.ndarray, pa.Array]]:
        """Texts of some documents of a part, rows rising, a row group at a time; groups without any are not read."""
        return part_texts(self.parts[part], rows)


def part_texts(part: Part, rows: np.ndarray) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """Rows and texts of a published file, a row group at a time.

    Raises:
        InputError: when the file is not there any more, or another one.
    """
    storage = Storage(part.uri)
    if not re.fullmatch(r"corpus/[0-9A-Za-z_-]+\.parquet", part.file):
        raise InputError(f"an index names a file {part.file!r} that no run publishes", part.uri)
    if not _unchanged(part):
        raise InputError(
            f"the corpus {part.dataset!r} is not what was indexed: this file is gone or changed; bring it back, or add "
            "the corpus to the index again",
            storage.path(part.file),
        )
    with storage.open(part.file) as stream:
        file, first = pq.ParquetFile(stream), 0
        _, columns = published_columns(file.schema_arrow)
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            inside = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + count)]
            if len(inside):
                rows_of_group = file.read_row_group(group, columns=columns).take(pa.array(inside - first))
                yield inside, published_texts(rows_of_group)
            first += count


@lru_cache(maxsize=1 << 16)
def _unchanged(part: Part) -> bool:
    """Whether a file has the bytes that were indexed; each is read for it once in a process."""
    storage = Storage(part.uri)
    return storage.size(part.file) == part.bytes and storage.digest(part.file) == part.digest
