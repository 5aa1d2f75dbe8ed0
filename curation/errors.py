"""Errors that a person can act on: what is wrong, where, and what to do."""

from __future__ import annotations


class GristmillError(Exception):
    """Base of every error that the command line prints as one line instead of a traceback."""


class InputError(GristmillError):
    """The caller gave something unusable: a recipe, a path, a model.  The command line exits with 2.

    Args:
        message: what is wrong and what to do about it, one sentence or two.
        where: the place, for instance ``recipe.yaml:12:5`` or a path; printed before the message.
    """

    def __init__(self, message: str, where: str | None = None) -> None:
        self.message = message
        self.where = where
        super().__init__(f"{where}: {message}" if where else message)


class RunError(GristmillError):
    """A run could not keep its promise (too much quarantined, totals that differ, a full disk).  Exit 1."""


class DocumentError(Exception):
    """One document cannot be processed; the rest of its batch can.

    Args:
        error_class: stable kebab-case name that enters the ledger as the rule, e.g. ``extraction-timeout``.
        detail: one line for people, deterministic (no addresses, no times).
    """

    def __init__(self, error_class: str, detail: str = "") -> None:
        self.error_class = error_class
        self.detail = detail
        super().__init__(f"{error_class}: {detail}" if detail else error_class)
