"""Who asks: the key of a request becomes a name with scopes."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, insert, select, update

from api.access import keys
from api.access.roles import Role, scopes_of, stored_scopes
from api.settings import Settings
from api.store.database import Database
from api.store.tables import api_keys


@dataclass(frozen=True)
class Principal:
    """Somebody.

    Attributes:
        name: for events and the audit.
        scopes: what is allowed.
    """

    name: str
    scopes: frozenset[str]


def identify(settings: Settings, database: Database, authorization: str | None) -> Principal | None:
    """The principal of an ``Authorization`` header; None where a key is needed and none, or a wrong one, is there."""
    if authorization is None:
        return None if settings.keys_required else Principal("local", scopes_of(Role.ADMIN))
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return None
    if settings.admin_key is not None:
        expected = settings.admin_key.get_secret_value()
        if hmac.compare_digest(text.strip().encode(), expected.encode()):
            return Principal("admin-key", scopes_of(Role.ADMIN))
    parsed = keys.parse(text.strip())
    if parsed is None:
        return None
    with database.read() as connection:
        row = connection.execute(select(api_keys).where(api_keys.c.id == parsed[0])).mappings().one_or_none()
    # A digest is compared for unknown ids too: the time of the answer says nothing about which ids exist.
    fits = keys.matches(parsed[1], row["digest"] if row else "0" * 64)
    if row is None or not fits or row["revoked_at"] is not None:
        return None
    # Cut, for keys of before their names were limited: columns hold 100 characters.
    return Principal(f"key:{row['name']}"[:100], stored_scopes(Role(row["role"]), row["scopes"]) | {"self:read"})


def create_key(
    connection: Connection, name: str, role: Role, scopes: list[str] | None, who: str, now: int
) -> tuple[RowMapping, str]:
    """A new key; its text is shown this once and stored nowhere."""
    new = keys.new_key()
    connection.execute(
        insert(api_keys).values(
            id=new.id, name=name, digest=new.digest, role=role.value, scopes=scopes, created_at=now, created_by=who
        )
    )
    row = connection.execute(select(api_keys).where(api_keys.c.id == new.id)).mappings().one()
    return row, new.text


def revoke_key(connection: Connection, key_id: str, now: int) -> RowMapping | None:
    """Revoke a key for good; None where there is none."""
    here = api_keys.c.id == key_id
    connection.execute(update(api_keys).where(here, api_keys.c.revoked_at.is_(None)).values(revoked_at=now))
    return connection.execute(select(api_keys).where(here)).mappings().one_or_none()
