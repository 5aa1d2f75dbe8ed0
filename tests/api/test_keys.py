"""Keys, roles and scopes."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access.keys import NewKey, digest_of, matches, new_key, parse
from api.access.roles import SCOPES, Role, allows, narrowed, scopes_of
from curation.errors import InputError


def test_new_keys_are_what_they_say() -> None:
    key = new_key()
    assert re.fullmatch(r"gm_[a-z2-7]{16}_[A-Za-z0-9_-]{43}", key.text)
    parsed = parse(key.text)
    assert parsed is not None
    id_, secret = parsed
    assert id_ == key.id
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert key.digest == digest_of(secret) == hashlib.sha256(secret.encode()).hexdigest()
    assert matches(secret, key.digest)
    assert key.text not in repr(key) and secret not in repr(key)


def test_a_thousand_keys_are_different_and_can_be_read() -> None:
    made = [new_key() for _ in range(1000)]
    assert len({key.id for key in made}) == len({key.digest for key in made}) == 1000
    assert all(parse(key.text) for key in made)  # also those whose secret has _ and - in it


GOOD = f"gm_{'a' * 16}_{'B' * 42}A"


@pytest.mark.parametrize(
    "text",
    [
        "", "gm_", GOOD[:-1], GOOD + "A", " " + GOOD, GOOD + "\n", GOOD + "\x00", GOOD.upper(), "GM_" + GOOD[3:],
        GOOD[3:],
        GOOD.replace("a", "A"), GOOD.replace("a", "1"), GOOD.replace("a", "а"), GOOD[:-1] + "=", GOOD[:-1] + "+",
        GOOD[:-1] + "B", GOOD.replace("_", "-"), "Bearer " + GOOD, GOOD * 2, "gm_" * 10**5, GOOD[:-1] + "é",
        GOOD[:-1] + "\ud800",
    ],
)  # fmt: skip
def test_malformed_keys(text: str) -> None:
    assert parse(GOOD) == ("a" * 16, "B" * 42 + "A")
    assert parse(text) is None


@given(st.text(), st.integers(0, 63), st.characters())
def test_parsing_never_raises_and_finds_whole_keys_only(text: str, position: int, character: str) -> None:
    assert parse(text) is None
    changed = GOOD[:position] + character + GOOD[position + 1 :]
    parsed = parse(changed)
    assert parsed is None or f"gm_{parsed[0]}_{parsed[1]}" == changed


@given(st.text(st.characters()), st.text(max_size=64))
def test_only_the_secret_matches(secret: str, other: str) -> None:
    assert matches(secret, digest_of(secret))
    assert matches(other, digest_of(secret)) == (other == secret)
    assert not matches(secret, "0" * 64) and not matches(secret, "")


def test_a_key_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        NewKey("a", "b", "c").id = "d"  # type: ignore[misc]


def test_roles_are_ordered_by_rank() -> None:
    order = [Role.VIEWER, Role.OPERATOR, Role.ADMIN]
    assert sorted(reversed(Role)) == order == list(Role)
    assert max(Role) is Role.ADMIN
    for (a, left), (b, right) in itertools.product(enumerate(order), repeat=2):
        assert (left < right, left <= right, left > right, left >= right) == (a < b, a <= b, a > b, a >= b)
        assert allows(left, right) == (a >= b)
    assert Role("admin") is Role.ADMIN and f"{Role.ADMIN}" == "admin"


def test_scopes_grow_with_the_role() -> None:
    assert scopes_of(Role.VIEWER) < scopes_of(Role.OPERATOR) < scopes_of(Role.ADMIN) == frozenset(SCOPES)
    assert all(re.fullmatch(r"[a-z]+:(read|write)", scope) for scope in SCOPES)
    for scope in scopes_of(Role.VIEWER):
        assert scope.endswith(":read")
    assert not {"keys:read", "keys:write", "audit:read", "sources:write"} & scopes_of(Role.OPERATOR)
    for thing in ("runs", "sources", "pipelines", "schedules", "datasets", "webhooks", "keys"):
        assert SCOPES[f"{thing}:read"] <= SCOPES[f"{thing}:write"]


def test_keys_can_be_narrowed_but_not_widened() -> None:
    assert narrowed(Role.VIEWER, None) == scopes_of(Role.VIEWER)
    assert narrowed(Role.ADMIN, []) == frozenset()
    assert narrowed(Role.OPERATOR, ["runs:write", "runs:write"]) == {"runs:write"}
    with pytest.raises(InputError, match="needs the role admin"):
        narrowed(Role.OPERATOR, ["runs:read", "keys:write"])
    with pytest.raises(InputError, match="no scope"):
        narrowed(Role.ADMIN, ["runs:fly"])
