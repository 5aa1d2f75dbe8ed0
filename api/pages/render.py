"""Templates to pages."""

from __future__ import annotations

import functools
import json
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from api.pages import assets, words
from api.pages.visible import plain, visible
from api.pages.visitors import Visitor
from api.problems import TYPES, Problem

THEME = "gristmill_theme"
THEMES = ("system", "light", "dark")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # without a referrer, browsers say of a form that it comes from nowhere
}


@functools.cache
def environment() -> Environment:
    """The templates, which escape whatever they are given and refuse names that nobody gave them."""
    made = Environment(
        loader=PackageLoader("api.pages", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    filters = {
        "visible": visible, "plain": plain, "count": words.count, "figure": words.figure, "size": words.size,
        "duration": words.duration, "moment": words.moment, "wall": words.wall,
        "segment": lambda text: quote(str(text), safe=""),
    }  # fmt: skip
    made.filters.update(filters)
    made.globals.update(
        asset=assets.address, share=words.share, seconds_between=words.seconds_between, data=data, query=query
    )
    return made


def data(value: Any) -> Markup:
    """JSON that stands inside of a ``<script type="application/json">`` and cannot end it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def query(**values: Any) -> str:
    """A query of what is given and not None, with its question mark; empty where there is nothing."""
    given = {name.rstrip("_"): value for name, value in values.items() if value is not None and value != ""}
    return f"?{urlencode(given)}" if given else ""


def page(visitor: Visitor, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page.

    Args:
        template: name below ``templates``.
        values: what it is given; besides ``visitor``, ``path`` and ``theme``, which all have.
    """
    return _answer(visitor.request, template, status, visitor=visitor, **values)


def bare(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page for somebody who is not known."""
    return _answer(request, template, status, visitor=None, **values)


def _answer(request: Request, template: str, status: int, **values: Any) -> HTMLResponse:
    theme = request.cookies.get(THEME, "system")
    given = {"path": request.url.path, "theme": theme if theme in THEMES else "system", **values}
    text = environment().get_template(template).render(given)
    # Halves of surrogate pairs cannot be sent; `visible` marks them, this is for whatever forgot to.
    return HTMLResponse(text.encode("utf-8", "replace"), status, HEADERS)


def problem_page(request: Request, problem: Problem) -> HTMLResponse:
    """An error for people."""
    status, title = TYPES[problem.code]
    answer = bare(
        request, "problem.html", status, title=title, detail=problem.detail, errors=problem.errors, code=problem.code,
        request_id=request.scope.get("state", {}).get("request_id"),
    )  # fmt: skip
    answer.headers.update(problem.headers)
    return answer
