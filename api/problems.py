"""Every error is a problem document (RFC 9457): what is wrong, where, what to do; never what was sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from api.runs.states import IllegalTransition
from api.runs.store import Fenced, NoSuchRun
from curation.errors import InputError, RunError

MEDIA_TYPE = "application/problem+json"
TYPES = {  # code -> (status, title); the codes are part of the contract, docs/service.md explains each
    "malformed-request": (400, "The request cannot be understood"),
    "key-required": (401, "An API key is needed"),
    "forbidden": (403, "This key may not do that"),
    "foreign-origin": (403, "Requests of other sites are refused"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "This method does not exist here"),
    "not-acceptable": (406, "The answer has no such form"),
    "conflict": (409, "That is not possible now"),
    "illegal-transition": (409, "The state does not allow that"),
    "attempt-fenced": (409, "This attempt does not count any more"),
    "changed-meanwhile": (412, "It changed since it was read"),
    "too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body has another form than is expected"),
    "range-not-satisfiable": (416, "The file has no such range of bytes"),
    "misdirected-host": (421, "This is not the host that was asked for"),
    "invalid": (422, "The request is understood and wrong"),
    "key-reused": (422, "The idempotency key belongs to another request"),
    "too-many-requests": (429, "Too many requests"),
    "internal-error": (500, "Something went wrong here"),
    "unavailable": (503, "The database cannot be reached"),
    "too-slow": (503, "The question took too long"),
}
_BY_STATUS = {400: "malformed-request", 401: "key-required", 403: "forbidden", 404: "not-found",
              405: "method-not-allowed", 406: "not-acceptable", 413: "too-large", 415: "unsupported-media-type",
              422: "invalid", 429: "too-many-requests"}  # fmt: skip

log = logging.getLogger("gristmill.api")


class Fault(BaseModel):
    """One thing that is wrong."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body, or `query/NAME`, `path/NAME`.")
    code: str = Field(description="Stable name of the kind of fault.")
    message: str = Field(description="What is wrong and what to do.")


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["urn:gristmill:problem:invalid"])
    title: str
    status: int
    detail: str | None = None
    instance: str | None = Field(default=None, description="Id of the request, also in the log.")
    errors: list[Fault] = []


class Problem(Exception):
    """An error with its code.

    Args:
        code: one of ``TYPES``.
        detail: one or two sentences for people.
        errors: each thing that is wrong.
        headers: of the response.
    """

    def __init__(
        self, code: str, detail: str | None = None, errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.code, self.detail, self.errors, self.headers = code, detail, list(errors), dict(headers or {})
        self.status = TYPES[code][0]
        super().__init__(detail or code)


def document(problem: Problem, request_id: str | None = None) -> dict[str, Any]:
    """The problem as plain data."""
    status, title = TYPES[problem.code]
    found: dict[str, Any] = {"type": f"urn:gristmill:problem:{problem.code}", "title": title, "status": status}
    if problem.detail:
        found["detail"] = problem.detail
    if request_id:
        found["instance"] = f"urn:uuid:{request_id}"
    if problem.errors:
        found["errors"] = [error.model_dump() for error in problem.errors]
    return found


def respond(request: Request, problem: Problem) -> JSONResponse:
    """The problem as an answer."""
    request_id = request.scope.get("state", {}).get("request_id")
    content = document(problem, request_id)
    return JSONResponse(content, problem.status, problem.headers, media_type=MEDIA_TYPE)


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI description says of the errors of a route, besides those that every route has."""
    found: dict[int | str, dict[str, Any]] = {}
    statuses = {TYPES[code][0] for code in codes}
    # A route's own word on a status takes the place of what holds everywhere, so it says both.
    both = [*codes, *(code for code in EVERYWHERE if TYPES[code][0] in statuses and code not in codes)]
    for code in both:
        status, title = TYPES[code]
        said = f"{found[status]['description']}; {title}" if status in found else title
        found[status] = {"description": said, "content": {MEDIA_TYPE: {"schema": _REFERENCE}}}
    return found


_REFERENCE = {"$ref": "#/components/schemas/ProblemDocument"}
EVERYWHERE = (
    "malformed-request", "key-required", "forbidden", "foreign-origin", "too-large", "unsupported-media-type",
    "misdirected-host", "invalid", "too-many-requests", "unavailable",
)  # fmt: skip


def pointer(parts: Iterable[str | int]) -> str:
    """JSON pointer of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def install(app: FastAPI, answer: Callable[[Request, Problem], Response] = respond) -> None:
    """Let every error that leaves a route become a problem document, or what ``answer`` makes of it."""

    def handles(kind: Any, convert: Any) -> None:
        async def handler(request: Request, error: Exception) -> Response:
            return answer(request, convert(error))

        app.add_exception_handler(kind, handler)

    handles(Problem, lambda error: error)
    handles(RequestValidationError, _invalid)
    handles(HTTPException, _http)
    handles(NoSuchRun, lambda error: Problem("not-found", "there is no run with this id"))
    handles(IllegalTransition, lambda error: Problem("illegal-transition", str(error)))
    handles(Fenced, lambda error: Problem("attempt-fenced", str(error)))
    handles(InputError, lambda error: Problem("invalid", error.message))
    handles(RunError, lambda error: Problem("conflict", str(error)))
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        handles(kind, _unavailable)
    handles(DatabaseError, _broken)
    handles(Exception, internal)


def _invalid(error: RequestValidationError) -> Problem:
    faults: dict[str, Fault] = {}
    for found in error.errors():
        where, *rest = found["loc"]
        if found["type"] == "json_invalid":
            said = str(found.get("ctx", {}).get("error", "not JSON"))
            return Problem("malformed-request", f"the body is not JSON: {said}")
        at = pointer(_path(error.body, rest, found["type"])) if where == "body" else "/".join(map(str, found["loc"]))
        message = str(found["msg"]).removeprefix("Value error, ")
        if at in faults:  # one of several forms would have done
            message = f"{faults[at].message}; or: {message}"
        faults[at] = Fault(pointer=at, code=found["type"].replace("_", "-"), message=message)
    return Problem("invalid", f"{len(faults)} thing(s) are wrong", list(faults.values()))


def invalid(error: ValidationError, body: Any) -> Problem:
    """What is wrong in a body that no request brought as it stands: one that was made from the fields of a form."""
    plain = {"string_pattern_mismatch": "small letters, digits, '.', '_' and '-'; a letter or a digit comes first"}
    found = [
        {**one, "loc": ("body", *one["loc"]), "msg": plain.get(one["type"], one["msg"])}
        for one in error.errors(include_context=False)
    ]
    return _invalid(RequestValidationError(found, body=body))


def _path(body: Any, parts: Sequence[str | int], kind: str) -> list[str | int]:
    """A place in the body: without the names of the forms that a value might have had, which Pydantic mixes in."""
    path: list[str | int] = []
    for place, part in enumerate(parts):
        member = isinstance(body, Mapping) and part in body
        entry = isinstance(body, list) and isinstance(part, int) and part < len(body)
        if member or entry:
            body = body[part]
        elif kind != "missing" or place < len(parts) - 1:
            continue
        path.append(part)
    return path


def _http(error: HTTPException) -> Problem:
    code = _BY_STATUS.get(error.status_code, "malformed-request" if error.status_code < 500 else "internal-error")
    return Problem(code, headers=dict(error.headers or {}))


def _unavailable(error: Exception) -> Problem:
    log.warning("the database failed a request: %s", type(error).__name__)
    return Problem("unavailable", "try again in a moment", headers={"Retry-After": "2"})


def _broken(error: DatabaseError) -> Problem:
    """A file that is no database, or not any more; what is wrong with a statement is nothing that waiting mends."""
    if type(error) is not DatabaseError:
        raise error
    return _unavailable(error)


def internal(error: Exception, request_id: str = "-") -> Problem:
    """What is said of an error that nobody expected; the log has all of it."""
    log.error("request %s failed", request_id, exc_info=error)
    return Problem("internal-error", "the log has more under the id of this request")
