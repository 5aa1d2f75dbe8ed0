"""What a failure looks like on the command line: one line that says what, where and what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from cli.show import line

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
    except BrokenPipeError:
        raise  # whoever read the output has gone away, which is no failure to speak of
    except OSError as error:
        _say(_of_the_machine(error))
        raise typer.Exit(FAILED) from None
    except MemoryError as error:
        _say(f"not enough memory; run fewer workers at once ({str(error) or 'no more is known'})")
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        _say("interrupted; what was committed stays, the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None


def _of_the_machine(error: OSError) -> str:
    """What and where, for errors that nobody closer to the cause has put into words."""
    what = error.strerror or str(error) or type(error).__name__
    places = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    return f"{' -> '.join(places)}: {what}" if places else what


def _say(message: str) -> None:
    # A message names files and quotes recipes, and these may be hostile.
    print(f"gristmill: {line(message)}", file=sys.stderr)
