"""``gristmill serve``, ``api``, ``controller``, ``migrate``, ``keys generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.show import terminal
from curation.errors import InputError

console = terminal()


def settings_with(**given: Any) -> Any:
    """Settings from the environment, with what the command line gives on top.

    Raises:
        InputError: naming each setting that is wrong.
    """
    from pydantic import ValidationError

    from api.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        said = [_one(found) for found in error.errors(include_input=False)]
        raise InputError("; ".join(said), "settings") from None


def _one(found: Any) -> str:
    name = ".".join(str(part) for part in found["loc"])
    message = found["msg"].removeprefix("Value error, ")
    return f"GRISTMILL_{name.upper()}: {message}" if name else message


def serve_command(host: str | None, port: int | None, home: Path | None, models: Path | None, part: str) -> None:
    """Run the service, or a part of it."""
    from api import serve

    settings = settings_with(host=host, port=port, home=home, models_root=models)
    {"all": serve.serve, "api": serve.serve_api, "controller": serve.serve_controller}[part](settings)


def migrate_command() -> None:
    """Bring the database to the schema of this version."""
    from api.store.database import Database
    from api.store.migrate import head, upgrade

    database = Database(settings_with().database)
    upgrade(database)
    console.print(f"the database has schema {head()}")


def generate_command() -> None:
    """A random key."""
    from api.access.keys import new_key

    console.print(new_key().text, soft_wrap=True)
