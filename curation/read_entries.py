"""The first stage of preference pairs and instructions: what the records of a shard hold, one row an entry.

A ranking, or a comparison by judges, is a row for each of its pairs, told apart by ``inner_offset``; one that gives
no pair, a tie, is a row all the same, and ends here under its own rule.

Single rated answers are paired with each other within the shard (``pair_unpaired`` says how).  The row of the later
answer becomes the pair; that of the earlier one ends here and names it.  An answer's row comes when its counterpart
does, or at the end of the shard.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO, ClassVar, Literal

import pyarrow as pa
from pydantic import ConfigDict, Field, field_validator, model_validator

from curation.batch import LANGUAGE, STATED_LANGUAGE
from curation.errors import DocumentError, InputError
from curation.pair_stages.canonical import dump
from curation.preferences import (
    BY_NAME,
    ColumnMapping,
    Expand,
    Instruction,
    Pair,
    Result,
    Shape,
    Unpaired,
    pair_answers,
    pairs_of,
    read_entry,
    read_mapped,
    recognise,
)
from curation.read import ERRORS, Reader, batched, clean, document_id, limits_of, sample_place
from curation.record import Record
from curation.sources import SourceOptions, read_records
from curation.stage import Parameters, Rule, measure_field
from curation.waiting import Row, WaitingAnswers


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
    """Facts about each entry; what is none ends here under its own rule or as an error.

    Args:
        identified: whether a later stage identifies languages and tells ``language``; then what is stated is
            ``stated_language``.
    """

    name: ClassVar[str] = "read"
    version: ClassVar[int] = 2
    Parameters: ClassVar[type[Parameters]] = EntryParameters
    parameters: EntryParameters
    deciding: ClassVar[frozenset[str]] = frozenset({"sample_share"})

    def __init__(self, parameters: EntryParameters, identified: bool = False) -> None:
        super().__init__(parameters)
        self.stated_language = STATED_LANGUAGE if identified else LANGUAGE

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
                measure_field(self.stated_language, pa.string(), "as the record or the recipe states it"),
                measure_field("stated_source", pa.string(), "where the record, or the recipe, says that it is from"),
                measure_field("license", pa.string(), "as the record or the recipe states it"),
                measure_field("tools", pa.string(), "JSON text of the tools that the assistant may call"),
                measure_field("margin", pa.float64(), "by how much the chosen answer is better; null where unknown"),
                measure_field("ranking_id", pa.string(), "the ranking that the pair is part of"),
                measure_field(
                    "entry_count",
                    pa.int32(),
                    "entries of the record; 0 for a tie, null for an answer whose row is no pair",
                ),
                measure_field("has_counterpart", pa.bool_(), "whether a rated answer found one to be a pair with"),
                measure_field("pair_elsewhere", pa.bool_(), "whether a rated answer's pair is the other answer's row"),
                measure_field("paired_with", pa.string(), "id of the other answer's row"),
                measure_field("sample_place", pa.float64(), "place in a random order that is always the same, [0, 1)"),
            ]
        )

    def facts(self) -> dict[str, str]:
        """Which column holds the language, where it is not ``language``."""
        return {} if self.stated_language == LANGUAGE else {"stated": self.stated_language}

    def rules(self) -> Sequence[Rule]:
        return [
            Rule("in-pair", "pair_elsewhere", "<", {"default": 1.0}, detail="paired_with"),
            Rule("no-counterpart", "has_counterpart", ">=", {"default": 1.0}),
            Rule("no-pair", "entry_count", ">=", {"default": 1.0}, detail="kind"),
            Rule("not-sampled", "sample_place", "<", {"default": self.parameters.sample_share}),
        ]

    def tables(self, stream: BinaryIO, name: str, size: int, identity: str) -> Iterator[pa.Table]:
        """Entries of a shard in batches, with the transient ``text``, their canonical JSON.

        They come in the order of the shard, but for rated answers, which wait for their counterparts.
        """
        limits = limits_of(self.parameters.max_record_bytes)
        records = read_records(stream, name, size, limits, SourceOptions(whole=True))
        schema = pa.schema([*self.schema, pa.field("text", pa.large_string()), *ERRORS])
        with WaitingAnswers() as waiting:
            rows = chain(self._rows(records, identity, waiting), waiting.rest())
            for some in batched(rows, lambda row: len(row.get("text", ""))):
                yield pa.Table.from_pylist(some, schema=schema)

    def _rows(self, records: Iterable[Record], identity: str, waiting: WaitingAnswers) -> Iterator[Row]:
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
                entry = self._entry(parsed, expected)
            except DocumentError as error:
                yield self._row(record, identity, 0, error_class=error.error_class, error_detail=clean(error.detail))
                continue
            if isinstance(entry, Unpaired):
                stated = {"kind": kind, "entry_count": None, "has_counterpart": False, **self._stated(entry)}
                yield from _met(entry, self._row(record, identity, 0, **stated), waiting)
            else:
                entries = [entry] if isinstance(entry, Instruction) else pairs_of(entry, self.parameters.expand)
                yield from self._rows_of(record, identity, kind, entries)

    def _entry(self, parsed: Any, expected: Shape | None) -> Result:
        """What a record holds, if it is of the recipe's kind.

        Raises:
            DocumentError: for one of the other kind, and for whatever is wrong with it.
        """
        given = self.parameters
        mapping = None if given.mapping is None else mapping_of(given.mapping)
        entry = read_entry(parsed, expected) if mapping is None else read_mapped(parsed, mapping)
        if isinstance(entry, Instruction) != (given.kind == "instructions"):
            found = "an instruction" if isinstance(entry, Instruction) else "a preference"
            raise DocumentError("wrong-kind", f"the record is {found}, the recipe asks for {given.kind}")
        return entry

    def _rows_of(
        self, record: Record, identity: str, kind: str, entries: Sequence[Pair | Instruction]
    ) -> Iterator[Row]:
        if not entries:
            yield self._row(record, identity, 0, kind=kind)
        for number, entry in enumerate(entries):
            yield self._row(record, identity, number, kind=kind, entry_count=len(entries), text=_text(entry),
                            **self._stated(entry))  # fmt: skip

    def _stated(self, entry: Pair | Unpaired | Instruction) -> Row:
        """What the record says about an entry, else the recipe."""
        given = self.parameters
        return {
            "record_id": clean(entry.source_id),
            self.stated_language: clean(entry.language) or given.language or None,
            "stated_source": clean(entry.source) or given.source,
            "license": clean(entry.license) or given.license,
            "tools": clean(entry.tools),
            "margin": entry.margin if isinstance(entry, Pair) else None,
            "ranking_id": entry.ranking_id if isinstance(entry, Pair) else None,
        }

    def _row(self, record: Record, identity: str, number: int, **values: Any) -> Row:
        """One row; a column that is not named in it is null."""
        place = Record(record.offset, record.length, number)
        id_ = document_id(identity, place)
        row = {"id": id_, "offset": record.offset, "length": record.length, "inner_offset": number}
        return {**row, "is_document": True, "entry_count": 0, "sample_place": sample_place(id_), **values}


def _met(answer: Unpaired, row: Row, waiting: WaitingAnswers) -> Iterator[Row]:
    """Rows of the two answers of a pair; none yet of an answer that has to wait."""
    earlier = waiting.meet(answer, row)
    if earlier is None:
        return
    pair = pair_answers(earlier.answer, answer)
    yield {**earlier.row, "has_counterpart": True, "pair_elsewhere": True, "paired_with": row["id"]}
    yield {**row, "has_counterpart": True, "pair_elsewhere": False, "paired_with": earlier.row["id"],
           "entry_count": 1, "record_id": pair.source_id, "text": _text(pair)}  # fmt: skip


def _text(entry: Pair | Instruction) -> str:
    if isinstance(entry, Instruction):
        return dump({"prompt": entry.messages[:-1], "response": entry.messages[-1:]})
    return dump({"prompt": entry.prompt, "chosen": entry.chosen, "rejected": entry.rejected})
