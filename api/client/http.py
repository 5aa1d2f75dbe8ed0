"""Requests to the service: where it is, the key, timeouts, what is tried again, and errors with words."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase

from api.client.errors import ServiceError, UnreachableError, error_of
from curation.errors import InputError

DEFAULT_URL = "http://127.0.0.1:8321"
CONNECT_SECONDS, READ_SECONDS = 5.0, 120.0  # a what-if may take a minute
ATTEMPTS = 3
FIRST_WAIT = 0.2  # seconds before the second attempt; doubles
PAGE = 200  # items of one page; the service's limit
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _Bearer(AuthBase):
    """Sends the key; without one it sends nothing, not even what a ``.netrc`` has for the host."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Http:
    """A service and how to ask it.

    Args:
        url: default: ``GRISTMILL_URL``, then this machine.
        key: default: ``GRISTMILL_KEY``, then none.
        timeout: seconds that an answer may take.

    Raises:
        InputError: for an address that is none, or a key that no service gave.
    """

    def __init__(self, url: str | None, key: str | None, timeout: float) -> None:
        self.url = checked_url(url or os.environ.get("GRISTMILL_URL") or DEFAULT_URL)
        given = key or os.environ.get("GRISTMILL_KEY") or None
        if given is not None and not (given.isascii() and given.isprintable() and " " not in given):
            raise InputError("a key consists of ASCII characters without blanks", "key")
        self._timeout = (CONNECT_SECONDS, timeout)
        self._session = requests.Session()
        self._session.auth = _Bearer(given)
        # A proxy of the environment has no business between a machine and itself.
        self._session.trust_env = urlsplit(self.url).hostname not in LOOPBACK

    def close(self) -> None:
        """Close connections."""
        self._session.close()

    def get(self, path: str, /, **query: Any) -> Any:
        """What is there; parameters that are None are left out."""
        return self.ask("GET", path, query=query)

    def post(self, path: str, body: Any = None, idempotency_key: str | None = None) -> Any:
        """Send a body.  Only with a key it is sent again when the connection fails."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self.ask("POST", path, body=body, headers=headers)

    def ask(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # fmt: skip
        """One request below ``/api/v1``; returns parsed JSON, or None for an answer without a body.

        Raises:
            ServiceError: the service said no.
            UnreachableError: it said nothing.
        """
        with self.open(method, path, query, body, headers) as response:
            try:
                return response.json() if response.content else None
            except requests.JSONDecodeError:
                raise error_of(response.status_code, self.url, None) from None
            except requests.RequestException as error:
                raise self.unreachable(error) from None

    def text(self, path: str) -> str:
        """An answer that is text."""
        with self.open("GET", path) as response:
            return response.content.decode("utf-8", "replace")

    def open(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:  # fmt: skip
        """The same as a response whose body is not read yet; to be closed."""
        given = {name: _plain(value) for name, value in (query or {}).items() if value is not None}
        again = method == "GET" or "Idempotency-Key" in (headers or {})
        for attempt in range(ATTEMPTS if again else 1):
            if attempt:
                time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
            try:
                response = self._session.request(
                    method, f"{self.url}/api/v1{path}", params=given, json=body, headers=dict(headers or {}),
                    timeout=self._timeout, stream=True, allow_redirects=False,
                )  # fmt: skip
                return self._checked(response)
            except requests.ConnectionError as error:
                failed: requests.RequestException = error
            except requests.RequestException as error:
                raise self.unreachable(error) from None
        raise self.unreachable(failed) from None

    def _checked(self, response: requests.Response) -> requests.Response:
        """The response if it is what was asked for."""
        if response.status_code < 300:
            return response
        with response:
            if response.is_redirect:
                place = response.headers["location"]
                raise ServiceError(
                    response.status_code, "", f"{self.url} sends to {place}; is that the address?", []
                )  # fmt: skip
            try:
                body = response.json()
            except requests.JSONDecodeError:
                body = None
            raise error_of(response.status_code, self.url, body)

    def unreachable(self, error: requests.RequestException) -> UnreachableError:
        """A connection that failed, in words."""
        if isinstance(error, requests.exceptions.SSLError):
            why = "its certificate is not trusted, or it does not speak TLS"
        elif isinstance(error, requests.exceptions.ReadTimeout):
            why = f"no answer within {self._timeout[1]:g} seconds"
        elif isinstance(error, requests.exceptions.ConnectTimeout):
            why = f"no connection within {CONNECT_SECONDS:g} seconds"
        else:
            why = "is it running there? `gristmill serve` runs one; GRISTMILL_URL names another"
        return UnreachableError(f"the service at {self.url} cannot be reached: {why}")

    def pages(self, path: str, /, **query: Any) -> Iterator[dict[str, Any]]:
        """The items of all pages, each page fetched when it is needed."""
        query = {"limit": PAGE, **query}
        while True:
            page = self.get(path, **query)
            yield from page["items"]
            if not page.get("next"):
                return
            query["cursor"] = page["next"]

    def numbered(self, path: str, /, **query: Any) -> Iterator[dict[str, Any]]:
        """The same where a page begins after a number."""
        while True:
            page = self.get(path, **query)
            yield from page["items"]
            if page["last"] == query.get("after", 0) or not page["items"]:
                return
            query["after"] = page["last"]


def checked_url(url: str) -> str:
    """An address without its last slash.

    Raises:
        InputError: it is no HTTP address, or holds a password.
    """
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        raise InputError("is no address", "url") from None
    if parts.username is not None or parts.password is not None:
        raise InputError("the address must not hold a password; a key is given by itself", "url")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise InputError(f"{url!r} is not an address such as {DEFAULT_URL}", "url")
    return url.strip().rstrip("/")


def segment(text: object, slashes: bool = False) -> str:
    """A name as a part of a path, whatever it holds.

    Args:
        slashes: whether it is several parts.

    Raises:
        InputError: it would lead to another place.
    """
    said = str(text)
    if any(part in ("", ".", "..") for part in (said.split("/") if slashes else [said])):
        raise InputError(f"{said!r} cannot be the name of anything here")
    try:
        return quote(said, safe="/" if slashes else "")
    except UnicodeEncodeError:
        raise InputError(f"{said!a} is not text") from None


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


__all__ = ["Http", "checked_url", "segment"]
