"""``/healthz``, ``/readyz``, ``/version``: for those who look after the service."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from api.http.context import Ctx, Needs
from api.problems import Problem, responses
from api.store.migrate import current, head

router = APIRouter(tags=["operation"])
OPEN: dict[str, Any] = {"security": []}  # in the description: no key is needed
Open = Annotated[object, Depends(Needs(None))]


class Health(BaseModel):
    """It answers."""

    status: str


class Version(BaseModel):
    """What runs here."""

    version: str


@router.get("/healthz", summary="Whether the process answers", openapi_extra=OPEN)
def healthz(_: Open) -> Health:
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Whether the database is there and has the right schema",
    responses=responses("unavailable"),
    openapi_extra=OPEN,
)
def readyz(context: Ctx, _: Open) -> Health:
    try:
        with context.database.read() as connection:
            there = current(connection)
    except SQLAlchemyError:
        raise Problem("unavailable", "the database cannot be reached", headers={"Retry-After": "2"}) from None
    if there != head():
        detail = f"the database has schema {there or 'none'}, {head()} is needed: run `gristmill migrate`"
        raise Problem("unavailable", detail, headers={"Retry-After": "10"})
    return Health(status="ready")


@router.get("/version", summary="Version of the service", openapi_extra=OPEN)
def get_service_version(_: Open) -> Version:
    try:
        return Version(version=version("gristmill"))
    except PackageNotFoundError:
        return Version(version="unknown")
