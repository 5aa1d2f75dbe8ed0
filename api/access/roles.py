"""Roles and scopes: one table of what is the least role for what."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from curation.errors import InputError


class Role(StrEnum):
    """From less to more; each may do what those before it may.  ``<`` compares rank, not spelling."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return _RANKS[self]

    # All four, since those of str would put admin first.
    def __lt__(self, other: str) -> bool:
        return self.rank < Role(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Role(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Role(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Role(other).rank


_RANKS = {role: rank for rank, role in enumerate(Role)}

SCOPES = {
    "self:read": Role.VIEWER,  # every key has it
    "runs:read": Role.VIEWER,
    "runs:write": Role.OPERATOR,
    "documents:read": Role.VIEWER,
    "statistics:read": Role.VIEWER,
    "pipelines:read": Role.VIEWER,
    "pipelines:write": Role.OPERATOR,
    "sources:read": Role.VIEWER,
    "sources:write": Role.ADMIN,  # decides what of the outside can be read at all
    "schedules:read": Role.VIEWER,
    "schedules:write": Role.OPERATOR,
    "datasets:read": Role.VIEWER,
    "datasets:write": Role.OPERATOR,
    "models:read": Role.VIEWER,
    "models:write": Role.OPERATOR,
    "trainings:write": Role.OPERATOR,
    "metrics:read": Role.VIEWER,
    "webhooks:read": Role.ADMIN,  # their URLs are often secrets themselves
    "webhooks:write": Role.ADMIN,
    "keys:read": Role.ADMIN,
    "keys:write": Role.ADMIN,
    "audit:read": Role.ADMIN,
}


def allows(role: Role, needed: Role) -> bool:
    """Whether a role is at least another."""
    return role >= needed


def scopes_of(role: Role) -> frozenset[str]:
    """All that a role may do."""
    return frozenset(scope for scope, needed in SCOPES.items() if allows(role, needed))


def stored_scopes(role: Role, scopes: Iterable[str] | None) -> frozenset[str]:
    """What a stored key may do; a scope that is known no more allows nothing."""
    return scopes_of(role) if scopes is None else scopes_of(role) & frozenset(scopes)


def narrowed(role: Role, scopes: Iterable[str] | None) -> frozenset[str]:
    """What a key may do whose role is narrowed to some scopes.

    Args:
        scopes: a subset of the role's, perhaps empty, which allows nothing; None for all of them.

    Raises:
        InputError: one is unknown, or more than the role may do.
    """
    whole = scopes_of(role)
    if scopes is None:
        return whole
    asked = frozenset(scopes)
    for scope in sorted(asked - whole):
        if scope not in SCOPES:
            raise InputError(f"there is no scope of this name; there are {', '.join(sorted(SCOPES))}")
        raise InputError(f"the scope {scope} needs the role {SCOPES[scope]}, and this key is for the role {role}")
    return asked
