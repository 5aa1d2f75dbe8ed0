"""Datasets as the API takes and shows them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.http.models import Body, example


class Dataset(BaseModel):
    """A dataset."""

    name: str
    kind: str
    description: str
    latest: int = Field(description="Number of the latest version; 0 before the first.")
    aliases: dict[str, int]
    created_at: str
    created_by: str


class DatasetPage(BaseModel):
    """Datasets by name."""

    items: list[Dataset]
    next: str | None


class Version(BaseModel):
    """A version of a dataset: the corpus of one run, for ever."""

    dataset: str
    number: int
    run: str
    manifest_digest: str = Field(description="Of the run's manifest.json, which names every file with its digest.")
    facts: dict[str, Any] = Field(description="Records by verdict, tokens, files and bytes of the corpus.")
    created_at: str
    created_by: str


class VersionPage(BaseModel):
    """Versions, latest first."""

    items: list[Version]
    next: str | None


class Column(BaseModel):
    """A column of the corpus."""

    name: str
    type: str
    description: str | None


class Lineage(BaseModel):
    """Where a version comes from."""

    run: str
    parent: str | None = Field(description="Run that it was forked from.")
    schedule: str | None
    pipeline: str | None
    revision: int | None
    recipe: dict[str, Any] = Field(description="Expanded: every value that a default gave is there.")
    inputs: list[dict[str, Any]] = Field(description="Every shard with its size and digest.")
    earlier: list[dict[str, Any]] = Field(description="Corpora whose documents came first.")
    models: list[dict[str, Any]] = Field(description="What stages say of the models that they used.")
    versions: dict[str, Any] = Field(description="Of the program and the libraries that decide.")
    trainings: list[str] = Field(description="Trainings that were given this version.")
    evaluations: list[str] = Field(description="Evaluations that were given this version.")


class VersionDetail(Version):
    """A version with its schema."""

    columns: list[Column]


class FileEntry(BaseModel):
    """A file of a version."""

    path: str
    bytes: int
    digest: str
    rows: int | None
    url: str


class FileList(BaseModel):
    """Every file of a version."""

    items: list[FileEntry]


class RowPage(BaseModel):
    """Rows of the corpus."""

    items: list[dict[str, Any]]
    next: str | None


class RowGroup(BaseModel):
    """Rows that have one value in common."""

    name: str | None
    rows: int


class RowGroups(BaseModel):
    """Rows by their value of a column, the most frequent first."""

    items: list[RowGroup]
    total: int = Field(description="Number of values.")


class VersionDiff(BaseModel):
    """What differs between two versions of a dataset."""

    first: int
    second: int
    columns_added: list[str]
    columns_removed: list[str]
    documents: dict[str, int] = Field(description="`first`, `second`, `both`, `only_first`, `only_second`.")
    tokens: dict[str, int]
    languages: dict[str, dict[str, int]] = Field(description="Kept documents of each language in either version.")
    domains: dict[str, dict[str, int]]
    samples_only_first: list[str]
    samples_only_second: list[str]


class Publication(Body):
    """A finished run that becomes the next version."""

    model_config = example(run="01a212ed-525f-7ff8-ab96-fd7aededade4")

    run: str = Field(pattern=r"^[0-9a-f-]{36}$")


class AliasTarget(Body):
    """What an alias stands for."""

    model_config = example(version=3)

    version: int = Field(ge=1, lt=1 << 31)


class DatasetChange(Body):
    """What may be changed of a dataset."""

    model_config = example(description="English and Chinese web text of November")

    description: str = Field(max_length=2000)
