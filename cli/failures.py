"""What a failure looks like on the command line: one line that says what, where and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn errors that a person can act on into one line and an exit code: 2 for bad input, 1 for a failed run."""
    from curation.errors import GristmillError, InputError

    try:
        yield
    except InputError as error:
        _say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    except GristmillError as error:
        _say(str(error))
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        _say("interrupted; what was committed stays, the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None


def _say(message: str) -> None:
    print(f"gristmill: {message}", file=sys.stderr)
