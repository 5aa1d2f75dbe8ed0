"""Where a webhook may go: a plain HTTPS URL whose host has public addresses only.

Two steps, since a name says nothing about where it leads: ``check_url`` judges the text when a webhook is registered
and again before each delivery; ``public_addresses`` judges what the name resolves to, once, directly before the
connection, and the connection goes to an address that it returned.  A name that changes its address in between (DNS
rebinding) therefore gains nothing.  How an address is spelt (decimal, octal, hexadecimal, ``127.1``) does not matter
either: the resolver turns every spelling into the same address.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from curation.errors import InputError

PORTS = frozenset({80, 443, 8080, 8443})
MAX_URL = 2000  # characters
DEFAULT_PORTS = {"http": 80, "https": 443}

Address = IPv4Address | IPv6Address
Resolver = Callable[..., Sequence[tuple[Any, ...]]]

_PRINTABLE = re.compile(r"[!-\[\]-~]+")  # printable ASCII without the backslash, which some parsers read as a slash
# One reading of the authority (RFC 3986, section 3.2), stricter than urllib's, so that no two parsers can disagree.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_AUTHORITY = re.compile(
    rf"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>{_LABEL}(?:\.{_LABEL})*))(?::(?P<port>[0-9]{{1,5}}))?"
)

_GLOBAL_UNICAST = ip_network("2000::/3")  # all that IANA hands out of IPv6; the rest is special or unassigned
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052
# The standard library's registry differs between patch releases; these are refused whatever it says.
_SPECIAL = tuple(
    ip_network(block)
    for block in (
        "100.64.0.0/10",  # shared by the customers of a carrier, RFC 6598
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.88.99.0/24",  # relays of 6to4, RFC 7526
        "2001::/23",  # protocol assignments, RFC 2928; Teredo, RFC 4380, is among them and hides an IPv4 address
        "2002::/16",  # 6to4, RFC 3056: hides an IPv4 address, and nobody serves there
        "3fff::/20",  # documentation, RFC 9637
    )
)


@dataclass(frozen=True)
class Endpoint:
    """A URL in its parts.

    Attributes:
        scheme: ``https`` or ``http``.
        host: name or literal address, lower case, without brackets; what a certificate is checked against.
        port: as given, or the scheme's own.
        target: path and query, as they are requested.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Value of the Host header (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def check_url(url: str, *, allow_http: bool = False, ports: Collection[int] | None = PORTS) -> Endpoint:
    """Check the text of a webhook's URL; nothing is resolved.

    Args:
        allow_http: whether ``http`` is fine, too.
        ports: those allowed; None for any.

    Raises:
        InputError: with what is wrong.  It never repeats the URL, which may hold a password.
    """
    if len(url) > MAX_URL:
        raise InputError(f"a webhook's URL has at most {MAX_URL} characters")
    # First of all: urllib drops tabs and line ends in silence, and they would end a header.
    if not _PRINTABLE.fullmatch(url):
        raise InputError("a webhook's URL consists of printable ASCII without backslashes; encode the rest")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InputError("this is not a URL") from None
    _check_scheme(parts.scheme, allow_http)
    if "#" in url:
        raise InputError("a webhook's URL has no fragment: it would never be sent")
    host, port = _authority(parts.netloc)
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    if not 0 < port < 1 << 16 or (ports is not None and port not in ports):
        allowed = "1 to 65535" if ports is None else ", ".join(map(str, sorted(ports)))
        raise InputError(f"port {port} is not allowed in a webhook's URL; allowed: {allowed}")
    return Endpoint(parts.scheme, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _check_scheme(scheme: str, allow_http: bool) -> None:
    if scheme == "https" or (scheme == "http" and allow_http):
        return
    raise InputError(f"a webhook's URL begins with https://{' or http://' if allow_http else ''}")


def _authority(netloc: str) -> tuple[str, int | None]:
    """Host and port of an authority."""
    if "@" in netloc:
        raise InputError("a webhook's URL has no user and no password; deliveries are signed instead")
    found = _AUTHORITY.fullmatch(netloc)
    if found is None or len(netloc) > 253 + len(":65535"):
        raise InputError(
            "a webhook's URL names a host: letters, digits, hyphens and dots, or [IPv6]; then perhaps :port"
        )
    port = int(found["port"]) if found["port"] else None
    if found["six"] is None:
        return found["name"].lower(), port
    try:
        return str(IPv6Address(found["six"])), port
    except ValueError:
        raise InputError("the host of this webhook's URL is not an IPv6 address") from None


def public_addresses(host: str, resolver: Resolver = socket.getaddrinfo) -> tuple[Address, ...]:
    """All addresses of a host, in the resolver's order, if every one is public.

    One that is not spoils all: which of them a connection takes would be a matter of chance, and of who answers last.

    Args:
        resolver: like ``socket.getaddrinfo``; called once.

    Raises:
        InputError: the host has no address, or one that is not public; which one is not said, for the answer would
            tell outsiders what names lead to inside.
    """
    found = addresses(host, resolver)
    if not all(is_public(address) for address in found):
        raise InputError("the host has an address that is not public; webhooks go to public addresses only")
    return found


def addresses(host: str, resolver: Resolver = socket.getaddrinfo) -> tuple[Address, ...]:
    """All addresses of a host, wherever they lead, without repeats.

    Raises:
        InputError: it has none.
    """
    try:
        answers = resolver(host, None, type=socket.SOCK_STREAM)
        found = tuple(dict.fromkeys(ip_address(answer[4][0]) for answer in answers))
    except (OSError, ValueError):  # UnicodeError, for a label that IDNA refuses, is a ValueError
        found = ()
    if not found:
        raise InputError("the host of the webhook's URL has no address")
    return found


def literal_address(host: str) -> Address | None:
    """The address that a host spells out, in any of the spellings that resolvers know; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001, 2130706433
    except OSError:
        return None


def is_public(address: Address) -> bool:
    """Whether an address is one that anybody on the internet reaches, as IANA's special-purpose registries say.

    An IPv6 address that stands for an IPv4 address, mapped (RFC 4291, section 2.5.5.2) or through NAT64 (RFC 6052),
    is as public as that one: behind NAT64, resolvers give these for ordinary hosts.  6to4 and Teredo are refused.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    if address.is_multicast or address.is_reserved or address.is_unspecified or not address.is_global:
        return False
    return not any(address.version == block.version and address in block for block in _SPECIAL)
