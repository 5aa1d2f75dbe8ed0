"""Server-sent events: read as they come, taken up where they ended when a connection fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import requests

from api.client.errors import ServiceError, UnreachableError, error_of, passes
from api.client.http import Http

PATIENCE_SECONDS = 120.0  # for a service that was there and has gone away
LONGEST_PAUSE = 5.0
CHUNK = 1 << 16


class Message(NamedTuple):
    """A server-sent event.

    Attributes:
        event: its kind.
        data: its lines.
        id: of the last event that had one.
        retry: milliseconds after which to connect again, where the stream said so.
    """

    event: str
    data: str
    id: str | None
    retry: int | None


def follow(http: Http, path: str, after: int) -> Iterator[dict[str, Any]]:
    """Events of a stream behind a number, until it says that it has ended.

    Raises:
        ServiceError: the service refuses.
        UnreachableError: it was not there at all, or has been away for too long.
    """
    last, pause, heard = after, 1.0, None
    while True:
        try:
            headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Last-Event-ID": str(last)}
            with http.open("GET", path, headers=headers) as response:
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise error_of(response.status_code, http.url, None)
                heard = time.monotonic()
                for message in messages(_parts(response)):
                    heard = time.monotonic()
                    pause = pause if message.retry is None else min(LONGEST_PAUSE, message.retry / 1000)
                    if message.event == "end":
                        return
                    event = json.loads(message.data)
                    if event["number"] > last:
                        last = event["number"]
                        yield event
        except requests.RequestException:
            pass  # in the middle of the stream, which is taken up again
        except (ServiceError, UnreachableError) as error:
            if heard is None or not passes(error) or time.monotonic() - heard > PATIENCE_SECONDS:
                raise
        time.sleep(pause)


def _parts(response: requests.Response) -> Iterator[bytes]:
    """Bytes as soon as they are there: a chunk at a time, or single ones where nothing says where a chunk ends."""
    chunked = "chunked" in response.headers.get("transfer-encoding", "").lower()
    return iter(response.iter_content(CHUNK if chunked else 1))


def messages(parts: Iterable[bytes]) -> Iterator[Message]:
    """Parse a stream as the HTML standard has it; one that ends inside a message loses that message."""
    event, data, last, retry = "", list[str](), None, None
    for line in _lines(parts):
        if not line:
            if data:
                yield Message(event or "message", "\n".join(data), last, retry)
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id" and "\x00" not in value:
            last = value
        elif name == "retry" and value.isascii() and value.isdigit():
            retry = int(value)


def _lines(parts: Iterable[bytes]) -> Iterator[str]:
    """Complete lines; they end with LF, CR or both."""
    rest = b""
    for part in parts:
        rest += part
        if rest.endswith(b"\r"):  # whether LF follows is not known yet
            ready, rest = rest[:-1], b"\r"
        else:
            ready, rest = rest, b""
        *lines, left = ready.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest = left + rest
        for line in lines:
            yield line.decode("utf-8", "replace")
