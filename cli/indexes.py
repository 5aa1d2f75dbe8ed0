"""``gristmill index`` and ``gristmill twins``: corpora that are remembered."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.table import Table

from cli.progress import bars
from cli.show import cell, line, terminal
from curation.errors import InputError

console = terminal()
EXCERPT = 120


def add_command(index: str, runs: list[str], name: str | None, quiet: bool) -> None:
    """``gristmill index add``."""
    from pipelines.index import INDEX, Index, corpus_parts, run_settings
    from pipelines.storage import Storage

    for run in runs:
        corpus_parts(run, name)  # all of them are finished runs, before anything is written
    exists = Storage(index).exists(INDEX)
    opened = Index(index) if exists else Index.create(index, run_settings(runs[0]))
    for run in runs:
        with bars(quiet) as shown:
            added = opened.add(run, name, shown.to("indexing"))
        said = f"{added:,} documents added" if added else "was in the index already"
        console.print(line(f"{run}: {said}"), soft_wrap=True)


def show_command(index: str) -> None:
    """``gristmill index show``."""
    from pipelines.index import Index

    opened = Index(index)
    for name, value in opened.settings.items():
        console.print(line(f"{name} {value}"))
    table = Table("run", "corpus", "version", "documents", "retracted", box=None, pad_edge=False, title="\nsorted runs")
    for segment in opened.segments:
        corpora = sorted({(part.dataset, part.version[:12]) for part in segment.parts})
        names, versions = (", ".join(column) for column in zip(*corpora, strict=True))
        key = segment.step.folder.rsplit("/", 1)[1][:12]
        table.add_row(cell(key), cell(names), cell(versions), f"{segment.documents:,}", f"{len(segment.retracted):,}")
    console.print(table)


def compact_command(index: str) -> None:
    """``gristmill index compact``."""
    from pipelines.index import Index

    opened = Index(index)
    runs = opened.compact()
    console.print(f"{runs} sorted runs are one now" if runs > 1 else "nothing to compact: one sorted run")


def retract_command(index: str, ids: list[str]) -> None:
    """``gristmill index retract``."""
    from pipelines.index import Index

    opened = Index(index)
    found = opened.retract(ids)
    missing = [id_ for id_ in ids if id_.lower() not in found]
    console.print(f"{len(found)} documents are retracted")
    if missing:
        raise InputError(f"{len(missing)} ids are not in the index, among them {missing[0]!r}", index)


def twins_command(index: str, text_file: Path, above: str) -> None:
    """``gristmill twins``."""
    from curation.duplicates.jaccard import as_threshold
    from pipelines.index import Index

    found = Index(index).twins(_text(text_file), as_threshold(above))
    if not found:
        console.print(f"no document is above {above}")
    for twin in found:
        likeness = f"{twin.similarity:.6f}  {twin.shared}/{twin.union}"
        console.print(line(f"{likeness}  {twin.id}  {twin.dataset}@{twin.version[:12]}"), soft_wrap=True)
        excerpt = " ".join(twin.text[:EXCERPT].split())
        console.print(line(f"    {excerpt}"), soft_wrap=True)


def _text(path: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(path)) from None
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 at byte {error.start}", str(path)) from None
