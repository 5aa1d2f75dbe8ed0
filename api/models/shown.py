"""Models as the API takes and shows them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.http.models import Body, example


class Model(BaseModel):
    """A model."""

    name: str
    description: str
    latest: int = Field(description="Number of the latest version.")
    aliases: dict[str, int]
    created_at: str
    created_by: str


class ModelPage(BaseModel):
    """Models by name."""

    items: list[Model]
    next: str | None


class ModelVersion(BaseModel):
    """A version of a model: what one training made, for ever."""

    model: str
    number: int
    run: str
    digest: str = Field(description="Of the model's manifest.json, which names every file with its digest.")
    kind: str = Field(description="`language`, `reward` or `tokenizer`.")
    family: str | None
    stage: str | None = Field(description="Of the training, such as `tokenizer`, `pretrain`, `sft`, `reward`.")
    figures: dict[str, Any] = Field(description="Last figures of the training.")
    created_at: str
    created_by: str


class ModelVersionPage(BaseModel):
    """Versions, latest first."""

    items: list[ModelVersion]
    next: str | None


class UsedDataset(BaseModel):
    """A dataset version that a training read."""

    dataset: str
    version: int
    role: str
    manifest_digest: str


class RelatedModel(BaseModel):
    """A model version that stands before or behind another."""

    model: str
    version: int
    role: str = Field(description="What the earlier one was to the training of the later one, such as `start`.")


class ModelLineage(BaseModel):
    """Where a version comes from, and what came of it."""

    run: str
    config: dict[str, Any]
    datasets: list[UsedDataset]
    parents: list[RelatedModel]
    children: list[RelatedModel]
    trainings: list[str] = Field(description="Trainings that were given this version, finished or not.")
    evaluations: list[str]


class ModelFile(BaseModel):
    """A file of a version."""

    path: str
    bytes: int
    digest: str
    url: str


class ModelFileList(BaseModel):
    """Every file of a version."""

    items: list[ModelFile]


class ModelAlias(Body):
    """What an alias of a model stands for."""

    model_config = example(version=2)

    version: int = Field(ge=1, lt=1 << 31)


class ModelChange(Body):
    """What may be changed of a model."""

    model_config = example(description="Answers questions about the handbook")

    description: str = Field(max_length=2000)
