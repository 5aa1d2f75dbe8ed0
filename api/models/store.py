"""Models in the database: a version names a training's folder and the digest of its manifest, and never changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, update

from api.http.versioned import Versioned
from api.runs.store import emit
from api.store.tables import model_aliases, model_versions, models, runs

MODELS = Versioned("model", models, model_versions, model_aliases)


def name_of(run: str) -> str:
    """A model's name from a run's: ``Small, again`` is a version of ``small-again``."""
    return re.sub(r"[^a-z0-9._-]+", "-", run.lower()).strip("._-")[:100] or "model"


def register(connection: Connection, run: RowMapping, trained: Mapping[str, Any], now: int) -> RowMapping:
    """Make what a training has made the next version of its model; once, however often it is asked for.

    Args:
        run: that succeeded; its request names the ``model``.
        trained: ``folder`` below the run's, ``digest``, ``kind``, ``family``, ``stage``, ``figures``.
    """
    name, who, result = run["request"]["model"], run["created_by"], run["result"] or {}
    made = {key: trained[key] for key in ("digest", "kind", "family", "stage", "figures")}
    made["location"] = f"{run['output']}/{trained['folder']}"
    row, new = MODELS.add(connection, name, run["id"], who, now, version=made)
    if new:
        told = {"model": name, "version": row["number"]}
        connection.execute(update(runs).where(runs.c.id == run["id"]).values(result={**result, "registered": told}))
        emit(connection, run["id"], "model.registered", who, now, told)
    return row
