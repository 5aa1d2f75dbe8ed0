"""Finding e-mail and IP addresses in linear time.

Every repetition below is bounded or possessive, so that no text makes the search backtrack; the tests try.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

# E-mail as people write it (RFC 5321, section 4.1.2, without quoted local parts, comments and address
# literals): a local part of at most 64 characters, a domain name with an alphabetic top level.  ASCII only, so
# that an address inside Chinese text ends where the Chinese begins.  ``@2x.`` marks image sizes in file names.
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9_%+-])[A-Za-z0-9_%+-][A-Za-z0-9_.%+'-]{0,63}+@(?!\dx\.)"
    r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}+\.){1,8}(?:xn--[A-Za-z0-9]{1,59}+|[A-Za-z]{2,24}+)(?![A-Za-z0-9])"
)

# Nobody's: what documents write where an address would stand (RFC 2606, RFC 6761), and the account by which
# everybody fetches from a Git server, ``git@github.com:owner/name``.
_NOBODYS = re.compile(r"git@|.*[@.](?:example\.(?:com|net|org)|example|test|invalid|localhost)\Z", re.I)

_IPV4 = re.compile(r"(?<![0-9A-Za-z_.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|\.[0-9])")
# A word before four numbers that makes them a version or the number of a section.
_VERSION = re.compile(
    r"(?:(?<![A-Za-z])(?:version|ver|release|build|rev|v|chapter|section|clause|figure|table)|版本?|§)"
    r"[\s.:：#=-]{0,3}$",
    re.I,
)
_VERSION_CONTEXT = 16

# Global unicast addresses begin with the bits 001 (RFC 4291, section 2.4), so with the digit 2 or 3.
_IPV6 = re.compile(r"(?<![0-9A-Za-z_:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}+(?![0-9A-Za-z_])")

# Regular expressions (RE2) that every text with something to mask matches; cheap to ask of a whole column.
MAYBE_EMAIL = "@"
MAYBE_IP = r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]{0,4}:"


def mask_emails(text: str, replacement: str) -> tuple[str, int]:
    """The text with its e-mail addresses replaced, and how many there were."""
    count = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] == replacement or _NOBODYS.match(found[0]):  # the former is what an earlier masking left behind
            return found[0]
        count += 1
        return replacement

    return _EMAIL.sub(replace, text), count


def mask_ips(text: str, ipv4_replacement: str, ipv6_replacement: str) -> tuple[str, int]:
    """The text with its public IPv4 and IPv6 addresses replaced, and how many there were."""
    count = 0

    def replace_ipv4(found: re.Match[str]) -> str:
        nonlocal count
        if _is_version(found) or not _is_public(found[0]):
            return found[0]
        count += 1
        return ipv4_replacement

    def replace_ipv6(found: re.Match[str]) -> str:
        nonlocal count
        # A colon that ends a clause may stand right behind the address.
        address = found[0]
        if address.endswith(":") and not address.endswith("::"):
            address = address[:-1]
        if not _is_public(address):
            return found[0]
        count += 1
        return ipv6_replacement + found[0][len(address) :]

    return _IPV6.sub(replace_ipv6, _IPV4.sub(replace_ipv4, text)), count


def _is_version(found: re.Match[str]) -> bool:
    start = found.start()
    return _VERSION.search(found.string[max(0, start - _VERSION_CONTEXT) : start]) is not None


@lru_cache(maxsize=4096)
def _is_public(address: str) -> bool:
    """Whether an address can belong to somebody: global, neither multicast nor reserved."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def masked_spans(text: str, replacements: Iterable[str]) -> list[tuple[int, int]]:
    """Where replacements stand in a text that was masked, in code points; also where somebody wrote just that."""
    wanted = "|".join(re.escape(one) for one in sorted(replacements, key=len, reverse=True))
    return [found.span() for found in re.finditer(wanted, text)] if wanted else []
