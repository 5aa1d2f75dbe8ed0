"""Errors that a person can act on."""

from __future__ import annotations


class TrainerError(Exception):
    """Base of every error that is printed as one line instead of a traceback."""


class ConfigError(TrainerError):
    """A configuration that cannot be used.

    Args:
        pointer: JSON pointer of the field, e.g. ``/model/chunk``.
        message: what is wrong and what to do about it.
    """

    def __init__(self, pointer: str, message: str) -> None:
        self.pointer = pointer if pointer.startswith("/") or not pointer else f"/{pointer}"
        self.message = message
        super().__init__(f"{self.pointer}: {message}" if self.pointer else message)

    def under(self, prefix: str) -> ConfigError:
        """The same error, seen from a document that holds the configuration at ``prefix``."""
        return ConfigError(prefix.rstrip("/") + self.pointer, self.message)


class DataError(TrainerError):
    """A dataset that cannot be used: another schema, no rows, names that are not there."""


class StateError(TrainerError):
    """A saved or running state that does not fit: a checkpoint of another model, a full decode state."""
