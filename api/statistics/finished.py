"""Finished runs, opened once and kept: they never change."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Depends
from sqlalchemy import RowMapping

from api.http.context import Context, Ctx
from api.problems import Problem
from api.runs import store
from api.runs.routes import RunId
from api.runs.states import SUCCEEDED
from curation.errors import GristmillError
from pipelines.canonical import digest_bytes, key_of
from pipelines.duplicates import duplicates
from pipelines.look import FinishedRun
from pipelines.storage import MANIFEST

LOOKUPS = "lookups"  # folder below the service's home


def finished_run(run_id: str, context: Context) -> FinishedRun:
    """A run that has something to look at.

    Raises:
        Problem: for one that is not there, has not succeeded, or whose files are not what it published.
    """
    with context.database.read() as connection:
        row = store.find(connection, run_id)
    return opened(row, context.settings.home.absolute() / LOOKUPS)


def look_through(run_id: str, context: Context) -> None:
    """Make the lookup of a run that has just finished, and count its duplicates, so that no page waits for it."""
    try:
        run = finished_run(run_id, context)
    except Problem:  # a training, or nothing was new
        return
    try:
        _ = run.lookup
        duplicates(run)
    except (GristmillError, OSError, ValueError) as error:
        log.warning("run %s: its lookup cannot be made: %s", run_id, error)


def opened(row: RowMapping | dict[str, Any], lookups: Path | None = None) -> FinishedRun:
    """A run's row as something to look at, with its lookup in a folder."""
    if row["kind"] not in ("curate", "preview"):
        raise Problem("conflict", f"a run of kind {row['kind']} has no documents")
    if row["state"] != SUCCEEDED:
        raise Problem("conflict", f"the run is {row['state']}; statistics are there when it has succeeded")
    result = row["result"] or {}
    if result.get("nothing_new"):
        raise Problem("conflict", "this run found nothing new in its source, so it read no document")
    return open_location(row["output"], result.get("manifest_digest", ""), lookups)


def open_location(location: str, digest: str, lookups: Path | None = None) -> FinishedRun:
    """What lies in a folder, if it is what the database knows of it."""
    try:
        return _open(location, digest, lookups)
    except (GristmillError, OSError) as error:
        log.warning("the files of a run cannot be read: %s", error)
        raise Problem("conflict", "the files of this run cannot be read; the service's log says why") from None


log = logging.getLogger("gristmill.files")


@lru_cache(maxsize=64)
def _open(location: str, digest: str, lookups: Path | None) -> FinishedRun:
    run = FinishedRun(location, None if lookups is None else lookups / f"{key_of(location, digest)}.arrow")
    found = digest_bytes(run.storage.read(MANIFEST))
    if found != digest:
        raise Problem("conflict", "the folder of this run holds another manifest than the one it published")
    return run


def _dependency(run_id: RunId, context: Ctx) -> FinishedRun:
    return finished_run(run_id, context)


OfRun = Depends(_dependency)
