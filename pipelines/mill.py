"""The step that takes one shard through every stage.  A plain function of a plan, a shard and a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa

from curation.batch import Batch
from curation.errors import RunError
from curation.read import TRANSIENT, Reader
from pipelines.inputs import Shard
from pipelines.measures import (
    MeasureReader,
    advance,
    measure_guarded,
    measure_writer,
    settle,
)
from pipelines.plan import Link, Plan
from pipelines.storage import Storage

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Milled:
    """What a shard gave.

    Attributes:
        identity: of the shard.
        records: read from it.
        left: documents left for deduplication.
        errors: quarantined records by error class.
        computed: stages computed now; the others were there already.
        seconds: that each of them took, in all batches; for people, stored nowhere.
    """

    identity: str
    records: int
    left: int
    errors: dict[str, int]
    computed: list[str]
    seconds: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def mill_shard(plan: Plan, shard: Shard, storage: Storage, on_bytes: Progress | None = None) -> Milled:
    """Take a shard through all stages and commit what each measured.

    Stages whose results are committed already are not computed again.  Killed at any moment, the shard is
    as if it had not been begun, but for whole results.

    Args:
        on_bytes: called with the number of stored bytes of each batch that is through.

    Raises:
        InputError: when the shard as a whole is unusable (a Parquet file without its text column).
        RunError: when it changed since the plan was made.
    """
    links, _ = plan.chain(shard)
    done = [storage.manifest(link.folder) is not None for link in links]
    missing = [link for link, committed in zip(links, done, strict=True) if not committed]
    seconds: dict[str, float] = {}
    if missing:
        summaries = _compute(plan, shard, storage, links, done, on_bytes, seconds)
        for link in missing:
            storage.commit(link.folder, summaries[link.key], [f"{link.folder}/measures.arrow"])
    return _milled(shard, storage, links, [link.stage.name for link in missing], seconds)


def _compute(
    plan: Plan, shard: Shard, storage: Storage, links: list[Link], done: list[bool], on_bytes: Progress | None,
    seconds: dict[str, float],
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Measure what is missing; return the summary of each stage computed, by key, and add up the seconds of each."""
    with ExitStack() as stack:
        readers = {}
        for link, committed in zip(links, done, strict=True):
            if committed:
                readers[link.key] = MeasureReader(storage, link)
                stack.callback(readers[link.key].close)
        missing = [link for link in links if link.key not in readers]
        writers = {link.key: stack.enter_context(measure_writer(storage, link)) for link in missing}
        # The pages themselves are not stored: extraction needs the shard once more.
        fresh = not (done[0] and done[1])
        source = read_shard(plan, shard) if fresh else _stored(readers[links[0].key])
        for index, table in enumerate(source):
            batch, rows = Batch(table), np.arange(table.num_rows)
            for link in links:
                if link.key in readers:
                    measured = readers[link.key].read(index)
                else:
                    began = perf_counter()
                    measured = measure_guarded(link.stage, batch)
                    seconds[link.stage.name] = seconds.get(link.stage.name, 0.0) + perf_counter() - began
                    writers[link.key].write(measured, len(batch))
                settled = settle(link.stage, rows, measured, batch)
                batch = advance(batch, settled, drop=TRANSIENT[:2] if link is links[1] else ())
                rows = rows[settled.survives]
            if on_bytes:
                on_bytes(int(sum(table.column("length").to_pylist())))
        return {link.key: writers[link.key].summary(link) for link in missing}


def read_shard(plan: Plan, shard: Shard) -> Iterator[pa.Table]:
    """What a shard holds in batches, with what only the next stage sees; see ``Reader.tables``."""
    reader = plan.stages[0]
    assert isinstance(reader, Reader)
    with shard.open() as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if size != shard.size:
            raise RunError(f"{shard.uri} changed while the run went on: {shard.size} bytes before, {size} now")
        yield from reader.tables(stream, shard.uri, shard.size, shard.identity)


def _stored(reader: MeasureReader) -> Iterator[pa.Table]:
    for index in range(reader.batches):
        measured = reader.read(index)
        table = pa.table(measured.columns)
        classes = [measured.errors[row].error_class if row in measured.errors else None for row in range(len(table))]
        details = [measured.errors[row].detail if row in measured.errors else None for row in range(len(table))]
        table = table.append_column("error_class", pa.array(classes, pa.string()))
        yield table.append_column("error_detail", pa.array(details, pa.string()))


def _milled(
    shard: Shard, storage: Storage, links: list[Link], computed: list[str], seconds: dict[str, float]
) -> Milled:
    errors: dict[str, int] = {}
    rows = []
    for link in links:
        manifest = storage.manifest(link.folder)
        if manifest is None:
            raise RunError(f"{link.folder} vanished after it was committed; is another run deleting it?")
        rows.append(manifest["rows"])
        for name, count in manifest["errors"].items():
            errors[name] = errors.get(name, 0) + count
    return Milled(shard.identity, rows[0], rows[-1], dict(sorted(errors.items())), computed, seconds)
