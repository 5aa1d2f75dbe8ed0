"""One attempt at delivering one message, bounded in time, size and reach; and when to try again.

The endpoint is a stranger's: it may lead inside (redirects, names that change), never end its answer, or give it a
byte a second.  So a name is resolved once, the connection goes to an address that was just checked, redirects are
answers like any other, and each wait for the network gets only what is left of one deadline.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import io
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from api.webhooks import signing
from api.webhooks.addresses import PORTS, Address, Endpoint, Resolver, addresses, check_url, public_addresses
from curation.errors import InputError

TIMEOUT = 5.0  # seconds for all of a delivery: resolving, connecting, sending, reading
MAX_ANSWER = 64 << 10  # bytes read of an answer, its head included
MAX_ATTEMPTS = 12  # after which a delivery is parked until somebody asks for it again
USER_AGENT = "gristmill-webhooks/1"

_FIRST_WAIT, _GROWTH, _LONGEST_WAIT = 5.0, 3.0, 6 * 3600.0  # seconds, factor, seconds
_TRIED_ADDRESSES = 4

T = TypeVar("T")


@dataclass(frozen=True)
class Delivered:
    """How an attempt ended.

    Attributes:
        status: of the answer; None where there was none.
        error: one line for people; None if and only if the endpoint accepted the message (a status of 200 to 299).
        duration: seconds.
    """

    status: int | None
    error: str | None
    duration: float


def deliver(
    url: str, secret: str, message_id: str, timestamp: int, body: bytes, *, allow_private: bool = False,
    allow_http: bool = False, timeout: float = TIMEOUT, resolver: Resolver = socket.getaddrinfo,
    context: ssl.SSLContext | None = None,
) -> Delivered:  # fmt: skip
    """Post a signed message once.  Whatever goes wrong, of the network or of the arguments, is in the result.

    The endpoint has accepted the message once its head says 2xx; what follows the head is read for politeness, up to
    ``MAX_ANSWER`` and the deadline, and changes nothing: sending again what was accepted would help nobody.

    Args:
        message_id: the same in all attempts.
        timestamp: of this attempt, whole seconds since the epoch.
        body: JSON, as it is sent and signed.
        allow_private: for receivers in one's own network: any address, any port, and HTTP without TLS.
        allow_http: whether public endpoints may do without TLS, too.
        timeout: seconds, over all.
        resolver: like ``socket.getaddrinfo``; called once.
        context: for TLS; default the certificate authorities of the system.
    """
    began = time.monotonic()
    clock = _Clock(began + timeout)
    status: int | None = None
    try:
        endpoint = check_url(url, allow_http=allow_http or allow_private, ports=None if allow_private else PORTS)
        headers = signing.headers(secret, message_id, timestamp, body)
        resolve = addresses if allow_private else public_addresses
        found = _within(clock, lambda: resolve(endpoint.host, resolver))
        with closing(_connect(endpoint, found, clock, context)) as wire:
            status = _post(endpoint, headers, body, wire, clock)
        error = _verdict(status)
    except InputError as refusal:
        error = f"refused: {refusal.message}"
    except TimeoutError:
        error = f"no answer within {timeout:g} s"
    except ssl.SSLCertVerificationError as failure:
        error = f"the certificate is not valid for the host: {failure.verify_message}"
    except OSError as failure:
        error = f"the connection failed: {type(failure).__name__}"
    except http.client.HTTPException as failure:
        error = f"the answer is not HTTP: {type(failure).__name__}"
    return Delivered(status, error, time.monotonic() - began)


def backoff(attempt: int, key: str) -> float:
    """Seconds from a failed attempt to the next: 5 s, then three times as long each time, 6 hours at most.

    Up to half of it is taken off by a hash, so that what failed together is not tried together again, and so that the
    same question has the same answer in every process.  All ``MAX_ATTEMPTS`` spread over half a day to a day.

    Args:
        attempt: the one that failed, from 1.
        key: of the delivery.
    """
    if attempt < 1:
        raise ValueError("attempts are counted from 1")
    whole = min(_FIRST_WAIT * _GROWTH ** min(attempt - 1, 50), _LONGEST_WAIT)  # 50: far beyond the cap, no overflow
    digest = hashlib.sha256(f"{attempt}:{key}".encode("utf-8", "surrogatepass")).digest()
    return whole * (1 - int.from_bytes(digest[:6], "big") / 2**49)


def _verdict(status: int) -> str | None:
    """What is wrong with a status, if anything is."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"the endpoint answered {status}; redirects are not followed, change the webhook's URL instead"
    return f"the endpoint answered {status}"


class _Clock:
    """The one deadline of an attempt, in seconds of the monotonic clock."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def left(self) -> float:
        """Seconds left, more than 0.

        Raises:
            TimeoutError: none is left.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _within(clock: _Clock, work: Callable[[], T]) -> T:
    """The result of work that knows no deadline itself, as ``getaddrinfo`` does not.

    A resolver that is never answered gives up by itself after some seconds more; its thread ends then.
    """
    box: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put((work(), None))
        except BaseException as error:
            box.put((None, error))

    threading.Thread(target=run, name="webhook-resolver", daemon=True).start()
    try:
        result, error = box.get(timeout=clock.left())
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _connect(
    endpoint: Endpoint, found: Sequence[Address], clock: _Clock, context: ssl.SSLContext | None
) -> socket.socket:
    """A connection to the first address that takes one; with TLS, for the host's name."""
    raw = _connect_any(found[:_TRIED_ADDRESSES], endpoint.port, clock)
    if endpoint.scheme == "http":
        return raw
    try:
        raw.settimeout(clock.left())  # the handshake takes this as its total
        return (context or _default_context()).wrap_socket(raw, server_hostname=endpoint.host)
    except BaseException:
        raw.close()
        raise


def _connect_any(found: Sequence[Address], port: int, clock: _Clock) -> socket.socket:
    """Try addresses in turn; each gets its share of the time that is left, so that a dead one does not take all."""
    for position, address in enumerate(found):
        try:
            return _dial(address, port, clock.left() / (len(found) - position))
        except OSError:
            if position == len(found) - 1:
                raise
    raise AssertionError("a host without addresses was refused before")


def _dial(address: Address, port: int, seconds: float) -> socket.socket:
    """A connection to the address itself: nothing is resolved here, so nothing can have changed."""
    raw = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        raw.settimeout(seconds)
        raw.connect((str(address), port))
    except BaseException:
        raw.close()
        raise
    return raw


@functools.cache
def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _post(endpoint: Endpoint, headers: dict[str, str], body: bytes, wire: socket.socket, clock: _Clock) -> int:
    """Send the request and read the answer; its status."""
    connection = _Connection(endpoint, wire, clock)
    own = {"Host": endpoint.authority, "User-Agent": USER_AGENT, "Content-Type": "application/json"}
    connection.request("POST", endpoint.target, body, {**own, "Connection": "close", **headers})
    response = connection.getresponse()
    with closing(response):
        # Too long, too slow or broken off: the status was there before.
        with suppress(OSError, http.client.HTTPException):
            response.read(MAX_ANSWER)
        return response.status


class _Connection(http.client.HTTPConnection):
    """HTTP over a connection that stands already; it opens none, and knows no proxy."""

    auto_open = 0

    def __init__(self, endpoint: Endpoint, wire: socket.socket, clock: _Clock) -> None:
        super().__init__(endpoint.host, endpoint.port)
        self.sock: Any = _Wire(wire, clock)


class _Wire:
    """What ``http.client`` uses of a socket, each wait within the deadline.

    A socket's own timeout is for one wait, and begins anew with every byte that comes.
    """

    def __init__(self, wire: socket.socket, clock: _Clock) -> None:
        self._wire, self._clock = wire, clock

    def sendall(self, data: bytes) -> None:
        """Send all of it.  ``SSLSocket.sendall`` would begin its timeout anew with each record."""
        rest = memoryview(data)
        while rest:
            self._wire.settimeout(self._clock.left())
            rest = rest[self._wire.send(rest) :]

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        """The answer."""
        return io.BufferedReader(_Answer(self._wire, self._clock))

    def close(self) -> None:
        """Leave it open: ``http.client`` closes before the body is read; whoever connected closes."""


class _TooLong(OSError):
    """The answer has more bytes than are read."""


class _Answer(io.RawIOBase):
    """The bytes of an answer, up to a number and a moment."""

    def __init__(self, wire: socket.socket, clock: _Clock) -> None:
        self._wire, self._clock, self._left = wire, clock, MAX_ANSWER

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is, at least a byte unless it is the end.

        Raises:
            TimeoutError: at the deadline.
            _TooLong: instead of an end, which would make half a head look whole.
        """
        if not self._left:
            raise _TooLong
        self._wire.settimeout(self._clock.left())
        got = self._wire.recv_into(memoryview(buffer)[: self._left])
        self._left -= got
        return got
