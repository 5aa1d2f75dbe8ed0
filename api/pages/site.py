"""All pages, and what becomes of errors on them."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from api.http.guard import is_api
from api.pages import (
    admin,
    admin_audit,
    admin_keys,
    admin_webhooks,
    assets,
    compare,
    datasets,
    documents,
    duplicates,
    entrance,
    evaluations,
    fork,
    home,
    models,
    new_run,
    new_training,
    pairs,
    runs,
    schedule_forms,
    schedules,
    stages,
    trainings,
)
from api.pages.render import problem_page
from api.pages.visitors import SignIn, to_sign_in
from api.problems import Problem, respond

ROUTERS = (
    assets.router, entrance.router, home.router, new_run.router, runs.router, fork.router, duplicates.router,
    stages.router, documents.router, compare.router, datasets.router, pairs.router, schedule_forms.router,
    schedules.router, admin.router, admin_keys.router, admin_webhooks.router, admin_audit.router,
    new_training.router, trainings.router, models.router, evaluations.router,
)  # fmt: skip


def install_pages(app: FastAPI) -> None:
    """Add every page to the application."""
    pages = APIRouter(include_in_schema=False)
    for router in ROUTERS:
        pages.include_router(router)
    app.include_router(pages)

    async def sign_in(request: Request, _: Exception) -> Response:
        return to_sign_in(request)

    app.add_exception_handler(SignIn, sign_in)


def answer(request: Request, problem: Problem) -> Response:
    """An error: a page for people, a problem document for programs."""
    return respond(request, problem) if is_api(request.url.path) else problem_page(request, problem)
