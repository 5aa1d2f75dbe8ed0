"""Datasets in the database: a version names a run's folder and the digest of its manifest, and never changes."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, select, update

from api.http.versioned import Versioned
from api.runs.store import emit
from api.store.tables import aliases, dataset_versions, datasets, runs
from pipelines.kinds import kind_of

DATASETS = Versioned("dataset", datasets, dataset_versions, aliases)


def publish_run(connection: Connection, run: RowMapping, name: str, who: str, now: int) -> RowMapping:
    """Make a finished run the next version of a dataset; once, however often it is asked for.

    Args:
        run: that succeeded.
    """
    result = run["result"] or {}
    facts = {key: result.get(key) for key in ("plan_key", "records", "tokens", "corpus_files", "corpus_bytes")}
    made = {"location": run["output"], "manifest_digest": result.get("manifest_digest", ""), "facts": facts}
    kind = kind_of(run["request"].get("recipe", {}))
    row, new = DATASETS.add(connection, name, run["id"], who, now, version=made, thing={"kind": kind})
    if new:
        told = {"dataset": name, "version": row["number"]}
        published = {**result, "published": [*result.get("published", []), told]}
        connection.execute(update(runs).where(runs.c.id == run["id"]).values(result=published))
        emit(connection, run["id"], "dataset.published", who, now, told)
    return row


def other_kind(connection: Connection, name: str, kind: str) -> str | None:
    """The kind of a dataset that is there already, if it is another one: versions of a dataset are alike."""
    known = connection.execute(select(datasets.c.kind).where(datasets.c.name == name)).scalar_one_or_none()
    return known if known not in (None, kind) else None
