"""Models in the database: a version names a training's folder and the digest of its manifest, and never changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from api.http.named import find_named
from api.problems import Problem
from api.runs.store import emit
from api.store.ids import new_id
from api.store.tables import model_aliases, model_versions, models, runs


@dataclass(frozen=True)
class Found:
    """A version with its model, as rows."""

    model: RowMapping
    version: RowMapping


def find_version(connection: Connection, name: str, ref: str) -> Found:
    """A version by its number, an alias, or ``latest``.

    Raises:
        Problem: there is none.
    """
    model = find_named(connection, models, name)
    number: int | None = None
    if ref == "latest":
        number = model["latest"]
    elif ref.isascii() and ref.isdigit() and len(ref) < 10:
        number = int(ref)
    else:
        here = (model_aliases.c.model_id == model["id"]) & (model_aliases.c.name == ref)
        number = connection.execute(select(model_aliases.c.number).where(here)).scalar_one_or_none()
    here = (model_versions.c.model_id == model["id"]) & (model_versions.c.number == number)
    row = None if number is None else connection.execute(select(model_versions).where(here)).mappings().one_or_none()
    if row is None:
        raise Problem("not-found", "this model has no such version and no such alias")
    return Found(model, row)


def name_of(run: str) -> str:
    """A model's name from a run's: ``Small, again`` is a version of ``small-again``."""
    return re.sub(r"[^a-z0-9._-]+", "-", run.lower()).strip("._-")[:100] or "model"


def register(connection: Connection, run: RowMapping, trained: Mapping[str, Any], now: int) -> RowMapping:
    """Make what a training has made the next version of its model; once, however often it is asked for.

    Args:
        run: that succeeded; its request names the ``model``.
        trained: ``folder`` below the run's, ``digest``, ``kind``, ``family``, ``stage``, ``figures``.
    """
    name, who = run["request"]["model"], run["created_by"]
    model = _model(connection, name, who, now)
    here = (model_versions.c.model_id == model["id"]) & (model_versions.c.run_id == run["id"])
    known = connection.execute(select(model_versions).where(here)).mappings().one_or_none()
    if known is not None:
        return known
    number = model["latest"] + 1
    same = {key: trained[key] for key in ("digest", "kind", "family", "stage", "figures")}
    connection.execute(
        insert(model_versions).values(
            **same, model_id=model["id"], number=number, run_id=run["id"],
            location=f"{run['output']}/{trained['folder']}", created_at=now, created_by=who,
        )
    )  # fmt: skip
    connection.execute(update(models).where(models.c.id == model["id"]).values(latest=number))
    told = {"model": name, "version": number}
    connection.execute(
        update(runs).where(runs.c.id == run["id"]).values(result={**(run["result"] or {}), "registered": told})
    )
    emit(connection, run["id"], "model.registered", who, now, told)
    return connection.execute(select(model_versions).where(here)).mappings().one()


def _model(connection: Connection, name: str, who: str, now: int) -> Any:
    query = select(models).where(models.c.name == name).with_for_update()
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        values = {"id": new_id(now), "name": name, "latest": 0, "created_at": now, "created_by": who}
        connection.execute(insert(models).values(values))
        row = connection.execute(query).mappings().one()
    return row
