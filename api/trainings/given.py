"""What the jobs of a trainer are given: versions of datasets and models, resolved to places when they are submitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, RowMapping, insert

from api.datasets.store import DATASETS
from api.http.models import Body, Name
from api.http.versioned import Versioned
from api.models.store import MODELS
from api.problems import Fault, Problem
from api.store.tables import model_inputs, training_inputs

REF = r"^[a-z0-9][a-z0-9._-]*$"


class TrainingData(Body):
    """A dataset version, and what it is for."""

    name: Name
    version: str = Field(
        default="latest", max_length=100, pattern=REF,
        description="Number, alias or `latest`; what it stands for now is what the training reads.",
    )  # fmt: skip
    role: Name = Field(default="corpus", description="What the trainer uses it for; the configuration names it.")


class GivenModel(Body):
    """A model version, and what it is for."""

    name: Name
    version: str = Field(
        default="latest", max_length=100, pattern=REF,
        description="Number, alias or `latest`; what it stands for now is what is used.",
    )  # fmt: skip
    role: Name = Field(description="`start`, `reward`, `tokenizer`, `model`, `a`, `b`: the task says which it takes.")


def resolve(
    connection: Connection, datasets: Sequence[TrainingData], models: Sequence[GivenModel]
) -> dict[str, list[dict[str, Any]]]:
    """``datasets`` and ``models`` of a job, and what is shown of them as ``display``.

    Raises:
        Problem: naming every version that is not there.
    """
    faults: list[Fault] = []

    def found(things: Versioned, given: Sequence[Any], columns: tuple[str, ...]) -> list[dict[str, Any]]:
        entries = []
        for place, wanted in enumerate(given):
            try:
                row = things.find(connection, wanted.name, wanted.version).version
            except Problem as problem:
                message = problem.detail or f"there is no such {things.kind}"
                faults.append(Fault(pointer=f"/{things.kind}s/{place}", code=things.kind, message=message))
                continue
            same = {"name": wanted.name, "version": row["number"], "role": wanted.role, "location": row["location"]}
            entries.append({**same, **{column: row[column] for column in columns}})
        return entries

    read = found(DATASETS, datasets, ("manifest_digest", "dataset_id"))
    used = found(MODELS, models, ("digest", "model_id"))
    if faults:
        raise Problem("invalid", f"{len(faults)} thing(s) are wrong", faults)
    display = [{"source": one["name"], "path": f"version {one['version']}"} for one in read]
    display += [{"source": one["name"], "path": f"version {one['version']}", "role": one["role"]} for one in used]
    return {"datasets": read, "models": used, "display": display}


def link(connection: Connection, run: RowMapping) -> None:
    """Lineage from each version to the run, in the transaction of the run."""
    request, run_id = run["request"], run["id"]
    datasets = {(one["dataset_id"], one["version"]) for one in request["datasets"]}
    models = {(one["model_id"], one["version"], one["role"]) for one in request["models"]}
    if datasets:
        rows = [{"run_id": run_id, "dataset_id": id_, "number": number} for id_, number in sorted(datasets)]
        connection.execute(insert(training_inputs), rows)
    if models:
        roles = [{"run_id": run_id, "model_id": id_, "number": n, "role": role} for id_, n, role in sorted(models)]
        connection.execute(insert(model_inputs), roles)
