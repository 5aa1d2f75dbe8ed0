"""A batch of documents: an Arrow table plus the features that its stages share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

T = TypeVar("T")
LANGUAGE, STATED_LANGUAGE = "language", "stated_language"
# Columns that tell the language of a row, the best first: what is stated holds until a language is identified.
ROW_LANGUAGE = (LANGUAGE, STATED_LANGUAGE)
UNKNOWN = "und"


class Batch:
    """Documents that reached a stage.

    Attributes:
        table: one row per document.  ``text`` is a ``large_string`` column; ``language`` (``string``) is
            there once the language stage has run.  Columns measured by earlier stages are there as well.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()
        self._features: dict[Any, Any] = {}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.Array:
        """One column as a single contiguous array."""
        chunked = self.table.column(name)
        if chunked.num_chunks == 1:
            return chunked.chunk(0)
        return pa.concat_arrays(chunked.chunks) if chunked.num_chunks else pa.array([], chunked.type)

    @property
    def text(self) -> pa.LargeStringArray:
        """The current text of each document."""
        return self.column("text")

    def feature(self, compute: Callable[[Batch], T]) -> T:
        """``compute(self)``, evaluated at most once for this batch, however many rules ask for it."""
        if compute not in self._features:
            self._features[compute] = compute(self)
        result: T = self._features[compute]
        return result

    def with_table(self, table: pa.Table) -> Batch:
        """The same documents, texts and languages with other columns: what was computed of them still holds."""
        batch = Batch(table)
        batch._features = self._features
        return batch

    def languages(self, by: Sequence[str] = ROW_LANGUAGE) -> list[str]:
        """Language code of each document: of the first of some columns that knows it, ``und`` where none does."""
        told = [self.column(name) for name in by if name in self.table.column_names]
        return [code or UNKNOWN for code in pc.coalesce(*told).to_pylist()] if told else [UNKNOWN] * len(self)


def encoded(column: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """A column of words as indices into its different values; null is the empty word, which comes last."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], pa.string())
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    values = [*array.dictionary.to_pylist(), ""]
    return np.asarray(array.indices.fill_null(len(values) - 1)), values


def text_buffers(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """UTF-8 bytes and offsets of a string column, without copying where Arrow allows it.

    Args:
        array: ``string`` or ``large_string`` array; nulls count as empty.

    Returns:
        ``(data, offsets)``: ``uint8[n_bytes]`` and ``int64[n + 1]``; text ``i`` is
        ``data[offsets[i]:offsets[i + 1]]``.
    """
    if array.null_count:
        array = array.fill_null("")
    if array.type != pa.large_string():
        array = array.cast(pa.large_string())
    _, offset_buffer, data_buffer = array.buffers()
    if len(array) == 0 or offset_buffer is None:
        return np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64)
    offsets = np.frombuffer(offset_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    return data, offsets
