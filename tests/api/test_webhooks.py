"""Webhooks go where they may, signed, and come back in time, whatever the endpoint does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import ipaddress
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.webhooks import signing
from api.webhooks.addresses import MAX_URL, Endpoint, addresses, check_url, is_public, public_addresses
from api.webhooks.deliver import MAX_ANSWER, MAX_ATTEMPTS, Delivered, backoff, deliver
from curation.errors import InputError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type": "run.succeeded"}'
PUBLIC = "93.184.215.14"


def resolving(*answers: str) -> Callable[..., list[tuple[Any, ...]]]:
    """A resolver with one answer, of one or more addresses, to everything."""
    return lambda host, port, **_: [
        (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 0)) for a in answers
    ]


# --- servers


class Receiver(http.server.ThreadingHTTPServer):
    """A real endpoint that keeps what it got and answers what it is told."""

    daemon_threads = True

    def __init__(self, address: str = "127.0.0.1", port: int = 0, status: int = 204, location: str = "") -> None:
        super().__init__((address, port), _Handler)
        self.status, self.location = status, location
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    def url(self, host: str = "127.0.0.1", path: str = "/hook") -> str:
        return f"http://{host}:{self.server_address[1]}{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def do_GET(self) -> None:  # what a followed redirect would become
        self.server.got.append((self.path, {}, b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def running(server: Receiver) -> Iterator[Receiver]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def raw(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """URL of an endpoint that does as it likes with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            answer(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # close alone does not wake accept
        listener.close()


def dribble(connection: socket.socket, first: bytes, byte: bytes = b"x", pause: float = 0.1) -> None:
    """Send something, then a byte now and then, as long as somebody listens."""
    connection.sendall(first)
    for _ in range(600):
        time.sleep(pause)
        connection.sendall(byte)


def send(url: str, **more: Any) -> Delivered:
    return deliver(url, SECRET, "msg_1", 1_700_000_000, BODY, **{"allow_private": True, **more})


# --- signatures


def independent(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """What a receiver does, written from the standard alone."""
    key = base64.b64decode(secret[len("whsec_") :])
    text = headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    return (
        headers["webhook-signature"] == "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    )


def test_published_example_of_the_standard() -> None:
    body = b'{"test": 2432232314}'
    message = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert signing.sign(SECRET, message, 1614265330, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    headers = signing.headers(SECRET, message, 1614265330, body)
    assert signing.verify(SECRET, headers, body, now=1614265330)


@given(st.binary(max_size=200), st.integers(0, 10**12), st.integers(0, 2**20))
def test_signatures_hold_for_what_was_signed_only(body: bytes, timestamp: int, position: int) -> None:
    secret = signing.new_secret()
    headers = signing.headers(secret, "msg_1", timestamp, body)
    assert independent(secret, headers, body)
    assert signing.verify(secret, {name.title(): value for name, value in headers.items()}, body, now=timestamp)
    assert not signing.verify(signing.new_secret(), headers, body, now=timestamp)
    assert not signing.verify(secret, {**headers, signing.ID: "msg_2"}, body, now=timestamp)
    assert not signing.verify(secret, {**headers, signing.TIMESTAMP: str(timestamp + 1)}, body, now=timestamp)
    if body:
        changed = bytearray(body)
        changed[position % len(body)] ^= 1 << position % 8
        assert not signing.verify(secret, headers, bytes(changed), now=timestamp)


def test_verifying_knows_age_rotation_and_nonsense() -> None:
    headers = signing.headers(SECRET, "msg_1", 1000, BODY)
    assert signing.verify(SECRET, headers, BODY, now=1300)
    assert not signing.verify(SECRET, headers, BODY, now=1301)
    assert not signing.verify(SECRET, headers, BODY, now=699)
    rotated = {**headers, signing.SIGNATURE: f"v1a,eA== v1,eA== {headers[signing.SIGNATURE]}"}
    assert signing.verify(SECRET, rotated, BODY, now=1000)
    for name in headers:
        for nonsense in ("", " ", "é", "\ud800", "v1,", "01000", "1e3", "-1", "9" * 400, "a.b"):
            assert not signing.verify(SECRET, {**headers, name: nonsense}, BODY, now=1000)
        assert not signing.verify(SECRET, {k: v for k, v in headers.items() if k != name}, BODY, now=1000)
    assert not signing.verify(SECRET, {}, BODY, now=0)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", SECRET.removeprefix("whsec_"), "whsec_é", "whsec_c2hvcnQ=", "whsec_!" + SECRET[6:],
    "whsec_" + "A" * 88,
     SECRET + "\n", "whsec_" + SECRET],
)  # fmt: skip
def test_malformed_secrets_are_refused(secret: str) -> None:
    with pytest.raises(InputError):
        signing.sign(secret, "msg_1", 0, b"")


@pytest.mark.parametrize(
    ("message", "timestamp"), [("a.b", 1), ("", 1), ("a\r\nX: y", 1), ("a\n", 1), ("é", 1), ("a", -1)]
)
def test_malformed_messages_are_refused(message: str, timestamp: int) -> None:
    with pytest.raises(InputError):
        signing.sign(SECRET, message, timestamp, b"")


# --- URLs


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com", Endpoint("https", "example.com", 443, "/")),
        ("HTTPS://Example.COM:8443/a%20b?x=1&y=//@", Endpoint("https", "example.com", 8443, "/a%20b?x=1&y=//@")),
        ("https://example.com?x", Endpoint("https", "example.com", 443, "/?x")),
        ("https://[2606:4700:0::1]:443/", Endpoint("https", "2606:4700::1", 443, "/")),
        ("https://xn--bcher-kva.example/", Endpoint("https", "xn--bcher-kva.example", 443, "/")),
    ],
)
def test_good_urls(url: str, expected: Endpoint) -> None:
    assert check_url(url) == expected


def test_the_host_header_has_the_port_if_it_is_not_the_usual_one() -> None:
    assert check_url("https://a.example:443/").authority == "a.example"
    assert check_url("https://a.example:8443/").authority == "a.example:8443"
    assert check_url("http://a.example:443/", allow_http=True).authority == "a.example:443"
    assert check_url("https://[2606::1]:8443/").authority == "[2606::1]:8443"


@pytest.mark.parametrize(
    "url",
    [
        "", "https:", "https://", "https:///x", "https://:443/", "//example.com", "example.com", "https:example.com",
        "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:x",
        "https://u@example.com/", "https://u:p@example.com/", "https://@example.com/", "https://example.com@127.0.0.1/",
        "https://example.com:22/", "https://example.com:0/", "https://example.com:65536/",
        "https://example.com:99999999/",
        "https://example.com:+443/", "https://example.com:4 43/", "https://example.com:x/",
        "https://example.com:443:443/",
        "https://example.com/\r\nX-Evil: 1", "https://example.com\r\n/", "https://exam\tple.com/",
        "https://example.com/ x",
        " https://example.com/", "https://example.com/\x00", "https://example.com/\x7f", "https://example.com/é",
        "https://example.com\\@127.0.0.1/", "https:\\\\example.com/", "https://exämple.com/", "https://１２７.0.0.1/",
        "https://example.com%2f@127.0.0.1/", "https://%31%32%37.0.0.1/", "https://example.com%00/", "https://a..b/",
        "https://[::1/", "https://::1/", "https://[::1]x/", "https://[fe80::1%25eth0]/", "https://[::zz]/",
        "https://[]/",
        "https://[v1.x]/", "https://[1.2.3.4]/", "https://example.com/#f", "https://example.com#@127.0.0.1/",
        "https://-a.b/",
        "https://" + "a" * 64 + ".example/", "https://" + "a." * 130 + "example/",
        "https://example.com/" + "x" * MAX_URL,
    ],
)  # fmt: skip
def test_bad_urls(url: str) -> None:
    with pytest.raises(InputError):
        check_url(url)


def test_http_and_ports_can_be_allowed() -> None:
    assert check_url("http://example.com/", allow_http=True).port == 80
    assert check_url("https://example.com:9000/", ports={9000}).port == 9000
    assert check_url("https://example.com:9001/", ports=None).port == 9001
    with pytest.raises(InputError):
        check_url("https://example.com/", ports={9000})


def test_what_is_refused_is_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        check_url("https://user:hunter2@example.com/")
    assert "hunter2" not in str(caught.value)


@given(st.text(alphabet="aZ09.-_:/?#@[]%\\ \r\n\t\x00é", max_size=40))
@settings(max_examples=500)
def test_accepted_urls_have_nothing_in_them_that_ends_a_header(rest: str) -> None:
    with suppress(InputError):
        endpoint = check_url("https://" + rest)
        for text in (endpoint.authority, endpoint.target):
            assert all("!" <= character <= "~" for character in text)
        assert "@" not in endpoint.host
        assert endpoint.target.startswith("/")
        again = check_url(f"https://{endpoint.authority}{endpoint.target}")
        assert again == endpoint


# --- addresses

REFUSED = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.0.170", "192.0.2.1", "198.18.0.1",
    "198.51.100.7", "203.0.113.7", "192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:100.64.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::1", "2002:808:808::1",
    "2001:0:808:808::1", "2001:2::1", "2001:db8::1", "3fff::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1",
    "fd00:ec2::254", "ff02::1", "ff0e::1", "100::1", "4000::1", "5f00::1",
]  # fmt: skip
GLOBAL = [PUBLIC, "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1",
          "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_inside_are_refused(address: str) -> None:
    with pytest.raises(InputError) as caught:
        public_addresses("x.example", resolving(address))
    assert address not in str(caught.value)
    with pytest.raises(InputError):
        public_addresses("x.example", resolving(PUBLIC, address))  # one spoils all


@pytest.mark.parametrize("address", GLOBAL)
def test_public_addresses_are_taken(address: str) -> None:
    assert public_addresses("x.example", resolving(address, address)) == (ipaddress.ip_address(address),)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "0", "localhost", "::1"])
def test_spellings_of_loopback_are_refused_by_the_real_resolver(host: str) -> None:
    with pytest.raises(InputError):
        public_addresses(host)


@given(st.ip_addresses(v=4))
@settings(max_examples=300)
def test_an_address_in_another_is_as_public_as_alone(address: ipaddress.IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        inside = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + int(address))
        assert is_public(inside) == is_public(address)
    assert not is_public(ipaddress.IPv6Address(0x2002 << 112 | int(address) << 80))
    assert not is_public(ipaddress.IPv6Address(0x20010000 << 96 | int(address) << 64))


def test_hosts_without_addresses_are_refused() -> None:
    def fails(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror("no")

    for resolver in (fails, resolving()):
        with pytest.raises(InputError):
            addresses("x.example", resolver)
    with pytest.raises(InputError):
        addresses("a" * 64 + ".example")  # the real one raises UnicodeError


# --- deliveries


def test_a_delivery_arrives_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nobody is there
    with running(Receiver()) as receiver:
        done = send(receiver.url(path="/hook?a=1"))
        assert (done.status, done.error) == (204, None)
        assert 0 < done.duration < 5
        ((path, headers, body),) = receiver.got
        assert (path, body) == ("/hook?a=1", BODY)
        assert headers["host"] == f"127.0.0.1:{receiver.server_address[1]}"
        assert headers["content-type"] == "application/json"
        assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_1", "1700000000")
        assert independent(SECRET, headers, body)


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_other_answers_are_failures(status: int) -> None:
    with running(Receiver(status=status)) as receiver:
        done = send(receiver.url())
        assert (done.status, done.error) == (status, f"the endpoint answered {status}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with running(Receiver()) as inside, running(Receiver(status=status, location=inside.url())) as receiver:
        done = send(receiver.url())
        assert done.status == status and done.error is not None and "redirects" in done.error
        assert inside.got == []


def test_an_endless_answer_is_cut() -> None:
    sent = 0

    def endless(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(65536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent += connection.send(b"x" * 4096)

    with raw(endless) as url:
        done = send(url, timeout=5)
        assert (done.status, done.error) == (200, None)
        assert done.duration < 2
        time.sleep(0.1)
        assert sent < MAX_ANSWER + (8 << 20)  # what the kernel's buffers hold, not 10 GB


@pytest.mark.parametrize(
    "first",
    [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, b"HTTP/1.1 100 Continue\r\n\r\n" * 9999],
)
def test_an_endless_head_is_cut(first: bytes) -> None:
    def endless(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(first)
        while True:
            connection.sendall(b"x" * 4096)

    with raw(endless) as url:
        done = send(url, timeout=5)
        assert done.status is None and done.error is not None
        assert done.duration < 2


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_dribbled_head_meets_the_deadline(first: bytes) -> None:
    with raw(lambda connection: dribble(connection, first, b"1")) as url:
        done = send(url, timeout=0.7)
        assert (done.status, done.error) == (None, "no answer within 0.7 s")
        assert 0.6 < done.duration < 1.5


def test_the_default_deadline_is_five_seconds() -> None:
    with raw(lambda connection: dribble(connection, b"", b"H", pause=1.0)) as url:
        done = send(url)
        assert done.error == "no answer within 5 s"
        assert 4.9 < done.duration < 6


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
             b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
)  # fmt: skip
def test_a_dribbled_body_does_not_undo_the_acceptance_nor_outlast_the_deadline(head: bytes) -> None:
    with raw(lambda connection: dribble(connection, head, b"1")) as url:
        done = send(url, timeout=0.7)
        assert (done.status, done.error) == (200, None)
        assert done.duration < 1.5


def test_an_endpoint_that_does_not_read_meets_the_deadline() -> None:
    with raw(lambda connection: time.sleep(3)) as url:
        done = deliver(url, SECRET, "msg_1", 1, b"x" * (32 << 20), allow_private=True, timeout=0.5)
        assert done.error == "no answer within 0.5 s"
        assert done.duration < 1.5


def test_a_resolver_that_hangs_meets_the_deadline() -> None:
    def hangs(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        time.sleep(3)
        return []

    done = send("https://x.example/", resolver=hangs, timeout=0.3)
    assert done.error == "no answer within 0.3 s"
    assert done.duration < 1


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = send(f"http://127.0.0.1:{port}/")
    assert (done.status, done.error) == (None, "the connection failed: ConnectionRefusedError")


def test_the_next_address_is_tried() -> None:
    with running(Receiver()) as receiver:
        done = send(receiver.url("x.example"), resolver=resolving("127.0.0.3", "::1", "127.0.0.1"))
        assert done.error is None and len(receiver.got) == 1


@given(st.one_of(st.binary(max_size=120), st.binary(max_size=80).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest)))
@settings(max_examples=60, deadline=None)
def test_no_answer_raises(answer: bytes) -> None:
    def says(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with raw(says) as url:
        done = send(url, timeout=2)
    assert (done.error is None) == (done.status is not None and 200 <= done.status < 300)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080/", "https://127.0.0.1/", "https://localhost:8443/", "https://2130706433/",
    "https://0x7f.1/",
     "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/", "https://169.254.169.254/latest/",
     "https://100.64.0.1/", "https://10.0.0.1/", "https://example.com/\r\nX-Evil: 1", "file:///etc/passwd"],
)  # fmt: skip
def test_deliveries_inside_are_refused_before_any_connection(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: connected.append(address))
    for allow_http in (False, True):
        done = deliver(url, SECRET, "msg_1", 1, BODY, allow_http=allow_http)
        assert done.status is None and done.error is not None and done.error.startswith("refused: ")
    assert connected == []


def test_bad_secrets_and_messages_are_results_too() -> None:
    for secret, message in (("nonsense", "msg_1"), (SECRET, "a\r\nX: y")):
        done = deliver("https://x.example/", secret, message, 1, BODY, resolver=resolving(PUBLIC))
        assert done.error is not None and done.error.startswith("refused: ") and secret not in done.error


class Rebinding:
    """A resolver whose answer changes after the first question."""

    def __init__(self, first: str, later: str) -> None:
        self.first, self.later, self.asked = first, later, 0

    def __call__(self, host: str, port: Any, **more: Any) -> list[tuple[Any, ...]]:
        self.asked += 1
        return resolving(self.first if self.asked == 1 else self.later)(host, port, **more)


def test_a_name_that_moves_inside_after_the_check_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[Any] = []
    real = socket.socket.connect
    resolver = Rebinding(PUBLIC, "127.0.0.1")
    with running(Receiver()) as receiver:

        def connect(self: socket.socket, address: Any) -> None:
            connected.append(address)
            real(self, receiver.server_address)  # stands for the internet

        monkeypatch.setattr(socket.socket, "connect", connect)
        monkeypatch.setattr(socket, "getaddrinfo", None)  # whoever resolves again fails
        url = "http://moves.example:8080/"
        done = deliver(url, SECRET, "msg_1", 1, BODY, allow_http=True, resolver=resolver)
    assert (done.status, done.error) == (204, None)
    assert (resolver.asked, connected) == (1, [(PUBLIC, 8080)])
    assert receiver.got[0][1]["host"] == "moves.example:8080"


def test_the_connection_goes_to_the_first_answer() -> None:
    resolver = Rebinding("127.0.0.1", "127.0.0.2")
    with running(Receiver()) as first, running(Receiver("127.0.0.2", first.server_address[1])) as second:
        done = send(first.url("moves.example"), resolver=resolver)
        assert (done.error, resolver.asked, len(first.got), len(second.got)) == (None, 1, 1, 0)
        assert first.got[0][1]["host"].startswith("moves.example:")


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for hooks.example, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=hooks.example", "-addext", "subjectAltName=DNS:hooks.example", "-keyout", key, "-out",
         certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@contextmanager
def running_tls(certificate: tuple[Path, Path]) -> Iterator[tuple[Receiver, list[str | None]]]:
    """An HTTPS endpoint, and the names that it was asked for by SNI."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.sni_callback = lambda _, name, __: names.append(name)
    receiver = Receiver()
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    with running(receiver):
        yield receiver, names


def test_tls_is_checked_for_the_name_at_the_pinned_address(certificate: tuple[Path, Path]) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    with running_tls(certificate) as (receiver, names):
        port = receiver.server_address[1]
        here = resolving("127.0.0.1")
        done = send(f"https://hooks.example:{port}/", resolver=here, context=trusting)
        assert (done.status, done.error) == (204, None)
        assert names == ["hooks.example"]
        assert receiver.got[0][1]["host"] == f"hooks.example:{port}"
        other = send(f"https://other.example:{port}/", resolver=here, context=trusting)
        assert other.status is None and "certificate" in str(other.error)
        stranger = send(f"https://hooks.example:{port}/", resolver=here)
        assert stranger.status is None and "certificate" in str(stranger.error)
        assert len(receiver.got) == 1


def test_a_dribbled_handshake_meets_the_deadline() -> None:
    with raw(lambda connection: dribble(connection, b"\x16\x03\x03\x40\x00", b"\x02")) as url:
        done = send(url.replace("http:", "https:"), timeout=0.7)
        assert done.error == "no answer within 0.7 s"
        assert done.duration < 1.5


# --- trying again


def test_waits_grow_up_to_six_hours_and_spread() -> None:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        whole = min(5 * 3 ** (attempt - 1), 6 * 3600)
        waits = [backoff(attempt, f"delivery-{number}") for number in range(300)]
        assert waits == [backoff(attempt, f"delivery-{number}") for number in range(300)]
        assert all(whole / 2 <= wait <= whole for wait in waits)
        assert max(waits) - min(waits) > whole * 0.4
    total = sum(backoff(attempt, "delivery") for attempt in range(1, MAX_ATTEMPTS))
    assert 11 * 3600 < total < 24 * 3600


@given(st.integers(1, 10**9), st.text())
def test_no_wait_is_longer(attempt: int, key: str) -> None:
    assert 2.5 <= backoff(attempt, key) <= 6 * 3600


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        backoff(0, "delivery")
