"""The extraction stage: every document gets its text."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation.batch import Batch
from curation.errors import DocumentError, InputError
from curation.extraction.clean import clean
from curation.extraction.engines import Engine, Extracted, Favour, Options, extract
from curation.extraction.sandbox import Limits, shared_sandbox
from curation.record import Record
from curation.stage import Measured, Parameters, Rule, Stage, measure_field


class ExtractionParameters(Parameters):
    """How text is extracted and what a page may take.

    Attributes:
        engine: ``resiliparse``, fast, or ``trafilatura``, exact.
        favour: for Trafilatura, which kind of mistake to avoid.
        full_text_below: a page whose main content has fewer bytes than this, and less than half of its full
            text, gives its full text instead (Resiliparse only); 0 never does.
        guard: ``process`` extracts in a child process with limits; ``none`` in this process, without limits
            of time and memory, for pages that are trusted.
        cpu_seconds: CPU time for one page.
        wall_seconds: time on the wall for one page, a safety net.
        memory_bytes: address space of the child process.
        max_html_bytes: longer pages are quarantined.
        max_depth: pages with more nested elements are quarantined.
    """

    engine: Engine = "resiliparse"
    favour: Favour = "balanced"
    full_text_below: int = Field(default=0, ge=0)
    guard: Literal["process", "none"] = "process"
    cpu_seconds: float = Field(default=10.0, gt=0, le=3600)
    wall_seconds: float = Field(default=120.0, gt=0)
    # Below 256 MiB the interpreter with its libraries has no room left for a page.
    memory_bytes: int = Field(default=2 << 30, ge=256 << 20)
    max_html_bytes: int = Field(default=16 << 20, ge=1)
    max_depth: int = Field(default=10_000, ge=1)

    def options(self) -> Options:
        """The part that the engine reads."""
        return Options(self.engine, self.favour, self.full_text_below, self.max_depth)

    def limits(self) -> Limits:
        """The part that the sandbox reads."""
        return Limits(self.cpu_seconds, self.wall_seconds, self.memory_bytes, self.max_html_bytes)


class Extraction(Stage):
    """Text of each document: of pages their main content, of plain text all of it.

    Reads the columns ``content`` (``large_binary``), ``content_type``, ``declared_charset`` and ``text``;
    a row has content, or text that needs no extraction and is only cleaned.
    """

    name: ClassVar[str] = "extraction"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = ExtractionParameters
    parameters: ExtractionParameters

    def __init__(self, parameters: ExtractionParameters) -> None:
        super().__init__(parameters)
        if parameters.engine == "trafilatura" and find_spec("trafilatura") is None:
            raise InputError("Trafilatura is not installed; install gristmill[trafilatura] or use resiliparse")
        self._options, self._limits = parameters.options(), parameters.limits()

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                measure_field("charset", pa.string(), "encoding in which the page was read; null for ready text"),
                measure_field("html_bytes", pa.int64(), "bytes of the page; null for ready text"),
                measure_field("text_bytes", pa.int64(), "UTF-8 bytes of the extracted text"),
                measure_field("title", pa.string(), "title of the page"),
            ]
        )

    @property
    def changes_text(self) -> bool:
        return True

    def rules(self) -> Sequence[Rule]:
        return [Rule("empty-text", "text_bytes", ">=", {"default": 1.0})]

    def facts(self) -> dict[str, str]:
        # Resiliparse detects encodings and reads titles whatever the engine.
        names = sorted({"resiliparse", self.parameters.engine})
        return {name: metadata.version(name) for name in names}

    def measure(self, batch: Batch) -> Measured:
        contents, texts = batch.column("content"), batch.column("text")
        types = batch.column("content_type").to_pylist()
        charsets = batch.column("declared_charset").to_pylist()
        found: list[Extracted | None] = []
        errors: dict[int, DocumentError] = {}
        for row in range(len(batch)):
            content = contents[row].as_py()
            try:
                found.append(self._one(content, types[row], charsets[row], texts[row]))
            except DocumentError as error:
                found.append(None)
                errors[row] = error
        return self._measured(found, pc.binary_length(contents), errors)

    def extract_records(self, records: Sequence[Record]) -> list[Extracted | DocumentError]:
        """Text of each record, or why there is none; ``charset`` is empty where the record brought text."""
        results: list[Extracted | DocumentError] = []
        for record in records:
            try:
                text = pa.scalar(record.text, pa.large_string())
                results.append(self._one(record.content, record.content_type, record.charset, text))
            except DocumentError as error:
                results.append(error)
        return results

    def _one(self, content: bytes | None, media_type: str | None, charset: str | None, text: pa.Scalar) -> Extracted:
        if content is None:
            return Extracted(clean(text.as_py() or ""), "")
        if self.parameters.guard == "process":
            return shared_sandbox(self._options, self._limits).extract(content, media_type, charset)
        if len(content) > self._limits.max_html_bytes:
            raise DocumentError("html-too-large", f"more than {self._limits.max_html_bytes} bytes")
        return extract(content, media_type, charset, self._options)

    def _measured(self, found: list[Extracted | None], sizes: pa.Array, errors: dict[int, DocumentError]) -> Measured:
        text = pa.array([one.text if one else "" for one in found], pa.large_string())
        valid = pa.array([one is not None for one in found], pa.bool_())
        missing = pa.scalar(None, pa.int64())
        columns = {
            "charset": pa.array([(one.charset or None) if one else None for one in found], pa.string()),
            "html_bytes": pc.if_else(valid, sizes.cast(pa.int64()), missing),
            "text_bytes": pc.if_else(valid, pc.binary_length(text).cast(pa.int64()), missing),
            "title": pa.array([one.title if one else None for one in found], pa.string()),
        }
        return Measured(columns, text, errors)
