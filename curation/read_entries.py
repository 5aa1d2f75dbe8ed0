"""The first stage of preference pairs and instructions: what the records of a shard hold, one row an entry.

A ranking, or a comparison by judges, is a row for each of its pairs, told apart by ``inner_offset``; one that gives
no pair, a tie, is a row all the same, and ends here under its own rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, ClassVar, Literal

import pyarrow as pa
from pydantic import ConfigDict, Field, field_validator, model_validator

from curation.errors import DocumentError, InputError
from curation.pair_stages.canonical import dump
from curation.preferences import (
    BY_NAME,
    ColumnMapping,
    Comparison,
    Expand,
    Instruction,
    Pair,
    Ranking,
    Shape,
    pairs_of,
    read_mapped,
    read_record,
    recognise,
)
from curation.read import ERRORS, Reader, batched, clean, document_id, limits_of, sample_place
from curation.record import Record
from curation.sources import SourceOptions, read_records
from curation.stage import Parameters, Rule, measure_field


class EntryParameters(Parameters):
    """What the records are.

    Attributes:
        kind: of the entries that are kept.
        shape: name of the records' shape; null: that of the first record of each file whose shape is known.
        mapping: fields by what they hold, for records of no known shape; then ``shape`` is not asked for.
        expand: which pairs of a ranking.
        source, language, license: of records that say none.
        max_record_bytes: a longer record (decompressed) is quarantined.
        sample_share: as in ``read``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    kind: Literal["preferences", "instructions"]
    shape: str | None = None
    mapping: dict[str, str] | None = None
    expand: Expand = "all"
    source: str | None = Field(default=None, max_length=200)
    language: str | None = Field(default=None, max_length=20)
    license: str | None = Field(default=None, max_length=200)
    max_record_bytes: int = Field(default=32 << 20, ge=1 << 10, le=1 << 30)
    sample_share: float = Field(default=1.0, gt=0, le=1)

    @field_validator("shape")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None and value not in BY_NAME:
            raise ValueError(f"unknown shape {value!r}; known are {', '.join(sorted(BY_NAME))}")
        return value

    @field_validator("mapping")
    @classmethod
    def _makes_sense(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        if value is not None:
            mapping_of(value)
        return value

    @model_validator(mode="after")
    def _one_of_them(self) -> EntryParameters:
        if self.shape is not None and self.mapping is not None:
            raise ValueError("give 'shape' or 'mapping', not both")
        return self


def mapping_of(given: dict[str, str]) -> ColumnMapping:
    """A mapping from a recipe.

    Raises:
        ValueError: for names that a mapping has not, or that make no sense together.
    """
    known = ColumnMapping.__dataclass_fields__
    for name in given:
        if name not in known:
            raise ValueError(f"a mapping has no {name!r}; known are {', '.join(known)}")
    try:
        return ColumnMapping(**given)
    except InputError as error:
        raise ValueError(error.message) from None


class ReadEntries(Reader):
    """Facts about each entry; what is none ends here under its own rule or as an error."""

    name: ClassVar[str] = "read"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = EntryParameters
    parameters: EntryParameters
    deciding: ClassVar[frozenset[str]] = frozenset({"sample_share"})

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                measure_field("id", pa.string(), "entry id: hash of the shard's content and the entry's place"),
                measure_field("offset", pa.int64(), "first byte of the record (row number in Parquet)"),
                measure_field("length", pa.int64(), "bytes of the record (1 in Parquet)"),
                measure_field("inner_offset", pa.int64(), "number of the pair within its record, from 0"),
                measure_field("kind", pa.string(), "shape of the record, mapped, or damaged"),
                measure_field("record_id", pa.string(), "the record's own id"),
                measure_field("url", pa.string(), "null: entries have no address"),
                measure_field("host", pa.string(), "null"),
                measure_field("is_document", pa.bool_(), "whether the record could be read"),
                measure_field("language", pa.string(), "as the record or the recipe states it"),
                measure_field("stated_source", pa.string(), "where the record, or the recipe, says that it is from"),
                measure_field("license", pa.string(), "as the record or the recipe states it"),
                measure_field("tools", pa.string(), "JSON text of the tools that the assistant may call"),
                measure_field("margin", pa.float64(), "by how much the chosen answer is better; null where unknown"),
                measure_field("ranking_id", pa.string(), "the ranking that the pair is part of"),
                measure_field("entry_count", pa.int32(), "entries that the record gives; 0 for a tie"),
                measure_field("sample_place", pa.float64(), "place in a random order that is always the same, [0, 1)"),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        return [
            Rule("no-pair", "entry_count", ">=", {"default": 1.0}, detail="kind"),
            Rule("not-sampled", "sample_place", "<", {"default": self.parameters.sample_share}),
        ]

    def tables(self, stream: BinaryIO, name: str, size: int, identity: str) -> Iterator[pa.Table]:
        """Entries of a shard in batches, with the transient ``text``, their canonical JSON."""
        limits = limits_of(self.parameters.max_record_bytes)
        records = read_records(stream, name, size, limits, SourceOptions(whole=True))
        schema = pa.schema([*self.schema, pa.field("text", pa.large_string()), *ERRORS])
        for rows in batched(self._rows(records, identity), lambda row: len(row["text"] or "")):
            yield pa.Table.from_pylist(rows, schema=schema)

    def _rows(self, records: Iterable[Record], identity: str) -> Iterator[dict[str, Any]]:
        expected = BY_NAME[self.parameters.shape] if self.parameters.shape else None
        for record in records:
            if record.error_class is not None:
                yield self._row(record, identity, 0, kind="damaged", is_document=False,
                                error_class=record.error_class, error_detail=clean(record.error_detail))  # fmt: skip
                continue
            try:
                parsed = json.loads(record.text or "")
                if expected is None and self.parameters.mapping is None:
                    expected = recognise(parsed)
                kind = "mapped" if self.parameters.mapping else expected.name if expected else "unknown"
                entries = self._entries(parsed, expected)
            except DocumentError as error:
                yield self._row(record, identity, 0, error_class=error.error_class, error_detail=clean(error.detail))
                continue
            yield from self._rows_of(record, identity, kind, entries)

    def _entries(self, parsed: Any, expected: Shape | None) -> Sequence[Pair | Instruction]:
        """What a record holds, as far as it is of the recipe's kind.

        Raises:
            DocumentError: for one of the other kind, and for whatever is wrong with it.
        """
        given = self.parameters
        entry: Pair | Ranking | Comparison | Instruction
        if given.mapping is not None:
            entry = read_mapped(parsed, mapping_of(given.mapping))
        else:
            entry = read_record(parsed, expected)
        if isinstance(entry, Instruction) != (given.kind == "instructions"):
            found = "an instruction" if isinstance(entry, Instruction) else "a preference"
            raise DocumentError("wrong-kind", f"the record is {found}, the recipe asks for {given.kind}")
        return [entry] if isinstance(entry, Instruction) else pairs_of(entry, given.expand)

    def _rows_of(
        self, record: Record, identity: str, kind: str, entries: Sequence[Pair | Instruction]
    ) -> Iterator[dict[str, Any]]:
        if not entries:
            yield self._row(record, identity, 0, kind=kind)
        for number, entry in enumerate(entries):
            given = self.parameters
            yield self._row(
                record, identity, number, kind=kind, record_id=clean(entry.source_id), entry_count=len(entries),
                language=clean(entry.language) or given.language, license=clean(entry.license) or given.license,
                stated_source=clean(entry.source) or given.source, tools=clean(entry.tools),
                margin=entry.margin if isinstance(entry, Pair) else None,
                ranking_id=entry.ranking_id if isinstance(entry, Pair) else None, text=_text(entry),
            )  # fmt: skip

    def _row(self, record: Record, identity: str, number: int, **values: Any) -> dict[str, Any]:
        place = Record(record.offset, record.length, number)
        id_ = document_id(identity, place)
        row: dict[str, Any] = dict.fromkeys([*self.schema.names, "text"])
        row |= {"id": id_, "offset": record.offset, "length": record.length, "inner_offset": number}
        row |= {"is_document": True, "entry_count": 0, "sample_place": sample_place(id_)}
        return {**row, **values}


def _text(entry: Pair | Instruction) -> str:
    if isinstance(entry, Instruction):
        return dump({"prompt": entry.messages[:-1], "response": entry.messages[-1:]})
    return dump({"prompt": entry.prompt, "chosen": entry.chosen, "rejected": entry.rejected})
