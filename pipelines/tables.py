"""The Parquet that a run publishes: schemas, and a writer with one fixed profile so that bytes repeat."""

from __future__ import annotations

from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 16384
TEXT_ROWS = 1024  # of what holds texts: a few of them are looked at, here and there, and a group is read whole
ROW_GROUP_BYTES = 64 << 20


def _described(*fields: tuple[str, pa.DataType, str]) -> list[pa.Field]:
    return [pa.field(name, type_, metadata={"description": text}) for name, type_, text in fields]


CORPUS = pa.schema(
    _described(
        ("id", pa.string(), "document id; the ledger has its whole history"),
        ("url", pa.string(), "address of the page"),
        ("text", pa.string(), "the curated text"),
        ("language", pa.string(), "language code"),
        ("language_score", pa.float32(), "confidence of the language"),
        ("perplexity", pa.float64(), "under the language's model; null where not scored"),
        ("perplexity_bucket", pa.string(), "head, middle or tail"),
        ("domain", pa.string(), "label of the domain classifier"),
        ("domain_score", pa.float32(), "probability of that label"),
        ("token_count", pa.int32(), "words of the text; a character of an unspaced script is one"),
        ("source", pa.string(), "the input file, as run.json names it"),
        ("crawl_date", pa.string(), "time of capture, UTC, ISO 8601"),
        ("cluster_size", pa.int32(), "documents that are near-duplicates of it directly or through others"),
        ("copies", pa.int32(), "documents with exactly this normalised text, itself included"),
    ),
    metadata={"gristmill.schema": "corpus/1"},
)

DROPPED = pa.schema(
    _described(
        ("id", pa.string(), "document id"),
        ("shard", pa.string(), "the input file"),
        ("url", pa.string(), "address of the page"),
        ("language", pa.string(), "language code, where the document came that far"),
        ("verdict", pa.string(), "dropped, duplicate or quarantined"),
        ("stage", pa.string(), "the stage that decided"),
        ("rule", pa.string(), "the rule that decided"),
        ("value", pa.float64(), "measured value"),
        ("threshold", pa.float64(), "threshold"),
        ("detail", pa.string(), "what else there is to say"),
        ("witness", pa.string(), "kept document that a duplicate resembles"),
        ("similarity", pa.float64(), "exact Jaccard similarity with it"),
        ("text", pa.string(), "the text as it came to the deciding stage"),
    ),
    metadata={"gristmill.schema": "dropped/1"},
)


class TableWriter:
    """Writes tables of one schema to a Parquet stream in row groups of bounded size.

    Args:
        stream: open for writing.
        schema: every table given is cast to it.
        most: rows after which a group ends.
    """

    def __init__(self, stream: BinaryIO, schema: pa.Schema, most: int = ROW_GROUP_ROWS) -> None:
        self.schema = schema
        self._most = most
        self.rows = 0
        self._pending: list[pa.Table] = []
        self._size = self._count = 0
        self._writer = pq.ParquetWriter(
            stream, schema, compression="zstd", version="2.6", write_page_index=True, store_schema=True
        )

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        if table.num_rows == 0:
            return
        self._pending.append(table.select(self.schema.names).cast(self.schema))
        self._size += table.nbytes
        self._count += table.num_rows
        self.rows += table.num_rows
        if self._count >= self._most or self._size >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables(self._pending).combine_chunks()
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._pending, self._size, self._count = [], 0, 0

    def close(self) -> None:
        """Write what is pending and the footer."""
        if self._pending:
            self._flush()
        self._writer.close()
