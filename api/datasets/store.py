"""Datasets in the database: a version names a run's folder and the digest of its manifest, and never changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from api.runs.store import emit
from api.store.ids import new_id
from api.store.tables import dataset_versions, datasets, runs
from pipelines.kinds import kind_of


def publish_run(connection: Connection, run: RowMapping, name: str, who: str, now: int) -> RowMapping:
    """Make a finished run the next version of a dataset; once, however often it is asked for.

    Args:
        run: that succeeded.
    """
    dataset = _dataset(connection, name, kind_of(run["request"].get("recipe", {})), who, now)
    here = (dataset_versions.c.dataset_id == dataset["id"]) & (dataset_versions.c.run_id == run["id"])
    known = connection.execute(select(dataset_versions).where(here)).mappings().one_or_none()
    if known is not None:
        return known
    number = dataset["latest"] + 1
    result = run["result"] or {}
    facts = {key: result.get(key) for key in ("plan_key", "records", "tokens", "corpus_files", "corpus_bytes")}
    connection.execute(
        insert(dataset_versions).values(
            dataset_id=dataset["id"], number=number, run_id=run["id"], location=run["output"],
            manifest_digest=result.get("manifest_digest", ""), facts=facts, created_at=now, created_by=who,
        )
    )  # fmt: skip
    connection.execute(update(datasets).where(datasets.c.id == dataset["id"]).values(latest=number))
    published = [*result.get("published", []), {"dataset": name, "version": number}]
    connection.execute(update(runs).where(runs.c.id == run["id"]).values(result={**result, "published": published}))
    emit(connection, run["id"], "dataset.published", who, now, {"dataset": name, "version": number})
    return connection.execute(select(dataset_versions).where(here)).mappings().one()


def other_kind(connection: Connection, name: str, kind: str) -> str | None:
    """The kind of a dataset that is there already, if it is another one: versions of a dataset are alike."""
    known = connection.execute(select(datasets.c.kind).where(datasets.c.name == name)).scalar_one_or_none()
    return known if known not in (None, kind) else None


def _dataset(connection: Connection, name: str, kind: str, who: str, now: int) -> Any:
    query = select(datasets).where(datasets.c.name == name).with_for_update()
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        values = {"id": new_id(now), "name": name, "kind": kind, "latest": 0, "created_at": now, "created_by": who}
        connection.execute(insert(datasets).values(values))
        row = connection.execute(query).mappings().one()
    return row
