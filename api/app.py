"""The application: routes, guards, errors, and the description that is the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from api import operation
from api.access.routes import router as access
from api.advice import router as advice
from api.datasets.routes import router as datasets
from api.evaluations.routes import router as evaluations
from api.http.context import Context
from api.http.guard import Guard
from api.internal.routes import router as internal
from api.metrics import Metrics
from api.metrics import router as metrics_router
from api.models.routes import router as models
from api.pages.site import answer, install_pages
from api.pipelines.routes import router as pipelines
from api.problems import EVERYWHERE, Fault, ProblemDocument, install, responses
from api.runs.events import router as events
from api.runs.overview import router as overview
from api.runs.routes import commands as run_commands
from api.runs.routes import router as runs
from api.scheduling.routes import commands as schedule_commands
from api.scheduling.routes import router as schedules
from api.settings import Settings
from api.sources.routes import router as sources
from api.statistics.routes import router as statistics
from api.store.database import Database
from api.trainings.routes import router as trainings
from api.webhooks.routes import router as webhooks

ROUTERS = (
    run_commands, overview, events, runs, statistics, trainings, evaluations, models, advice, schedule_commands,
    schedules, datasets, pipelines, sources, webhooks, access,
)  # fmt: skip
DESCRIPTION = "Curation of raw crawls into training corpora: every document accounted for, every 0.8 proven."


def create_app(settings: Settings, database: Database | None = None) -> FastAPI:
    """The service as an ASGI application.

    Args:
        database: to use; default the one of the settings.
    """
    own = database or Database(settings.database)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.stopping = True
        own.close()

    app = FastAPI(
        title="Gristmill", version="1", description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/api/v1/openapi.json", separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
    )  # fmt: skip
    app.state.context = Context(settings, own)
    app.state.stopping = False
    public = APIRouter(prefix="/api/v1", responses=responses(*EVERYWHERE))
    for router in ROUTERS:
        public.include_router(router)
    app.include_router(public)
    for router in (operation.router, metrics_router):
        app.include_router(router, responses=responses(*EVERYWHERE))
    app.include_router(internal)
    install_pages(app)
    install(app, answer)
    app.state.metrics = Metrics(own)
    app.add_middleware(Guard, settings=settings, answered=app.state.metrics.answered)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description: errors are problem documents, keys are bearer tokens."""
    if app.openapi_schema:
        return app.openapi_schema
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (Fault, ProblemDocument):
        schemas[model.__name__] = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas[model.__name__].pop("$defs", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{"key": []}]
    app.openapi_schema = found
    return found
