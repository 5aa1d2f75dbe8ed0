"""``gristmill keys``: API keys."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from cli.remote import Remote, command

app = typer.Typer(help="API keys.", no_args_is_help=True)


@command(app, "list")
def list_keys(remote: Remote) -> None:
    """List keys, oldest first; never their text."""
    found = remote.client.keys.list()
    rows = [(key["id"], key["name"], key["role"], key["created_at"], key["revoked_at"]) for key in found]
    remote.show(found, lambda _: remote.table(rows, "key", "name", "role", "created", "revoked", empty="no keys"))


@command(app, "make")
def make(
    remote: Remote,
    name: Annotated[str, typer.Argument(help="Who has it.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "viewer",
    scopes: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--scope", help="Less than the role may do, such as runs:read.  May be repeated."),
    ] = None,
) -> None:
    """Make a key and print it; nobody can see it again."""
    remote.show(remote.client.keys.make(name, role, scopes or None), lambda made: _show(remote, made))


def _show(remote: Remote, made: dict[str, Any]) -> None:
    from cli.progress import errors
    from cli.show import line

    errors.print(line(f"{made['id']}  {made['name']}  {made['role']}; the key is shown this once:"), soft_wrap=True)
    remote.say(made["key"])


@command(app, "revoke")
def revoke(remote: Remote, key_id: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key.")]) -> None:
    """Revoke a key for good."""
    found = remote.client.keys.revoke(key_id)
    remote.show(found, lambda found: remote.say(f"{found['id']}  {found['name']}  revoked {found['revoked_at']}"))
