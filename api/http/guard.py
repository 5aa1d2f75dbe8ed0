"""What a request must pass before any route sees it: host, origin, size, rate.  Plain ASGI, so that streams stream."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.session import COOKIE
from api.problems import MEDIA_TYPE, Fault, Problem, document, internal
from api.settings import LOOPBACK_HOSTS, Settings
from api.store.ids import new_id

SAFE = ("GET", "HEAD", "OPTIONS")
MAX_JSON_DEPTH = 64
MAX_PARAMETERS = 100  # of a query
PROBES = ("/healthz", "/readyz", "/metrics")  # asked all the time
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}

_LENGTH = re.compile(r"[0-9]{1,18}")
_FORM = re.compile(r"application/x-www-form-urlencoded\s*(?:;.*)?", re.DOTALL)
_JSON = re.compile(r"application/(?:[a-z0-9.+_-]+\+)?json\s*(?:;.*)?", re.DOTALL)

access = logging.getLogger("gristmill.access")


class Guard:
    """The first and last room of every request.

    - The Host header must be one that this service goes by: a page of another site cannot reach it under a name of
      its own (DNS rebinding).
    - What writes must not come from a page of another site (``Origin``, ``Sec-Fetch-Site``), unless it brings a key,
      which no foreign page has.
    - A body ends at the limit, whatever its length was said to be; it is JSON, in UTF-8, of a bounded depth, or, for
      pages, a form.
    - Each key, or address, has a number of requests a minute; keys that were not seen before count for the address,
      so that nobody gets more by making them up.
    - What no handler expected becomes a problem document here, so that it has the headers of every answer.

    Args:
        answered: is told method, route, status and seconds of each request.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, answered: Callable[[str, str, int, float], None] = lambda *_: None
    ) -> None:
        self.app = app
        self.answered = answered
        self.settings = settings
        own = urlsplit(settings.url)
        named = (*LOOPBACK_HOSTS, *settings.allowed_hosts, own.netloc)
        self.hosts = {_host_name(name) for name in named} - {""}
        self.origins = {*settings.allowed_origins, f"{own.scheme}://{own.netloc}"}
        self.rates = Rates(settings.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {name.lower() for name, _ in message["headers"]}
                extra = {**HEADERS, "x-request-id": request_id}
                added = [(n.encode(), v.encode()) for n, v in extra.items() if n.encode() not in there]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            self._check(scope)
            body = Body(receive, self.settings.max_body_bytes, forms=not is_api(scope["path"]))
            body.announced(Headers(scope=scope))
            await body.read_whole(scope["method"])
            await self.app(scope, body.receive, sending)
        except Problem as problem:
            if status:  # the answer has begun; nothing can be said any more
                raise
            await _send_problem(sending, problem, request_id)
        except Exception as error:
            if status:
                raise
            await _send_problem(sending, internal(error, request_id), request_id)
        finally:
            # The path alone: a query can hold what a log should not.
            took = (time.monotonic() - began) * 1000
            self.answered(_method(scope["method"]), _route(scope), status, took / 1000)
            level = logging.DEBUG if scope["path"] in PROBES else logging.INFO
            access.log(level, "%s %s %d %.1f ms %s", scope["method"], scope["path"], status, took, request_id)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = _host_name(headers.get("host", ""))
        if host not in self.hosts:
            raise Problem("misdirected-host", "set GRISTMILL_ALLOWED_HOSTS if the service goes by this name")
        if "\x00" in scope["path"]:  # no database and no file holds it
            raise Problem("malformed-request", "a path holds no NUL")
        _check_query(scope.get("query_string", b""))
        if scope["method"] not in SAFE and not headers.get("authorization"):
            self._check_origin(headers)
        client = (scope.get("client") or ("", 0))[0]
        shown = headers.get("authorization") or cookie_parser(headers.get("cookie", "")).get(COOKIE)
        wait = self.rates.take(client, shown)
        if wait > 0:
            raise Problem("too-many-requests", headers={"Retry-After": str(max(1, math.ceil(wait)))})

    def _check_origin(self, headers: Headers) -> None:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        own = f"{urlsplit(self.settings.url).scheme}://{headers.get('host', '')}"
        if origin is not None and origin not in self.origins and origin != own:
            raise Problem("foreign-origin")
        if origin is None and site not in (None, "same-origin", "none"):
            raise Problem("foreign-origin")


def is_api(path: str) -> bool:
    """Whether a path is asked for by programs; everything else are pages."""
    return path.startswith(("/api/", "/internal/")) or path in (*PROBES, "/version")


def _check_query(query: bytes) -> None:
    """Every parameter stands there once: of two, nobody could say which counts."""
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    repeated = {name for name in names if names.count(name) > 1} if len(names) <= MAX_PARAMETERS else set(names)
    if repeated:
        known = sorted(name for name in repeated if re.fullmatch("[a-z_]{1,50}", name))
        message = f"a parameter stands there once, and there are {MAX_PARAMETERS} at most"
        where = f"query/{known[0]}" if known else "query"
        raise Problem("invalid", message, [Fault(pointer=where, code="repeated", message=message)])


def _method(method: str) -> str:
    """A method that is known, so that nobody can invent endlessly many."""
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "OTHER"


def _route(scope: Scope) -> str:
    """The route as it is declared."""
    return str(getattr(scope.get("route"), "path", "unmatched"))


def _host_name(host: str) -> str:
    """A Host header without its port, in lower case."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


class Body:
    """The body of a request, read up to a limit before any route sees it."""

    def __init__(self, receive: Receive, limit: int, forms: bool = False) -> None:
        self._receive, self.limit, self.forms = receive, limit, forms
        self._whole: bytes | None = None
        self._json = self._form = False

    def announced(self, headers: Headers) -> None:
        """Refuse what says of itself that it is too large."""
        length = headers.get("content-length", "0")
        if not _LENGTH.fullmatch(length):
            raise Problem("malformed-request", "Content-Length is a number of bytes")
        if int(length) > self.limit:
            raise self._too_large()
        kind = headers.get("content-type", "").lower()
        self._json = _JSON.fullmatch(kind) is not None
        self._form = self.forms and _FORM.fullmatch(kind) is not None

    async def read_whole(self, method: str) -> None:
        """Read it, if a body is expected at all."""
        if method in SAFE:
            return
        parts, size, more = [], 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Problem("malformed-request", "the connection ended inside the body")
            part = message.get("body", b"")
            size += len(part)
            if size > self.limit:
                raise self._too_large()
            parts.append(part)
            more = message.get("more_body", False)
        self._whole = b"".join(parts)
        if self._form:
            return
        if self._whole and not self._json:
            raise Problem("unsupported-media-type", "send JSON, with 'Content-Type: application/json'")
        if b"\x00" in self._whole:  # UTF-16 and UTF-32, which the standard library would read, and we would miscount
            raise Problem("malformed-request", "JSON is UTF-8 (RFC 8259), and holds no NUL that is not escaped")
        check_depth(self._whole)

    async def receive(self) -> Message:
        """For the routes: the body at once, then whatever the server says."""
        if self._whole is None:
            return await self._receive()
        whole, self._whole = self._whole, None
        return {"type": "http.request", "body": whole, "more_body": False}

    def _too_large(self) -> Problem:
        return Problem("too-large", f"a body has at most {self.limit} bytes", headers={"Connection": "close"})


def check_depth(data: bytes) -> None:
    """Refuse JSON that is nested too deeply, before anything recursive meets it."""
    depth, inside, escaped = 0, False, False
    for byte in data:
        if inside:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                inside = False
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise Problem("malformed-request", f"JSON is nested at most {MAX_JSON_DEPTH} deep")
        elif byte in b"]}":
            depth -= 1


class Rates:
    """A bucket of requests for each caller; the callers seen last are remembered.

    Args:
        per_minute: requests; a caller may use them at once and gets them back evenly.  0 for no limit.
    """

    REMEMBERED = 10_000

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, key: str | None = None) -> float:
        """Take one of a caller's; returns 0, or the seconds after which there is one.

        Args:
            key: what the caller shows; the first time that it is seen, the address pays.
        """
        if not self.per_minute:
            return 0.0
        if not key:
            return self._take(address)
        digest = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()  # short, and no secret
        if digest not in self._buckets and (wait := self._take(address)) > 0:
            return wait
        return self._take(digest)

    def _take(self, caller: str) -> float:
        now, each = time.monotonic(), 60 / self.per_minute
        left, seen = self._buckets.pop(caller, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - seen) / each)
        taken = left >= 1
        self._buckets[caller] = (left - taken, now)
        if len(self._buckets) > self.REMEMBERED:
            self._buckets.popitem(last=False)
        return 0.0 if taken else (1 - left) * each


async def _send_problem(send: Send, problem: Problem, request_id: str) -> None:
    body = json.dumps(document(problem, request_id)).encode()
    headers: Iterable[tuple[str, Any]] = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": len(body),
        **problem.headers,
    }.items()
    raw = [(name.lower().encode(), str(value).encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
