"""How a command ends: an exit status, and a line on standard error for what a user can mend; never a traceback for that."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

import click

from fmbench import FmbenchError

__all__ = ["BAD_USE", "DONE", "EXPECTED", "INTERRUPTED", "INVALID", "STANDING", "drop_stdout", "mend_streams", "say", "tell"]

DONE = 0
INVALID = 1
BAD_USE = 2
STANDING = 3
INTERRUPTED = 130

EXPECTED = (click.ClickException, click.Abort, FmbenchError, OSError, KeyboardInterrupt)
"""What ends a command without being a mistake of fmbench's."""


def tell(error: BaseException) -> int:
    """Say what ended a command, in one line; the exit status.

    Args:
        error: One of ``EXPECTED``.
    """
    if isinstance(error, KeyboardInterrupt | click.Abort):
        say(str(error) or "interrupted")
        return INTERRUPTED
    say(_message(error))
    return BAD_USE


def say(text: str) -> None:
    """Print one line on standard error; one that nobody can read any more, such as a closed terminal's, is no failure."""
    with suppress(OSError):
        click.echo(f"fmbench: {' '.join(text.split())}", err=True)


def mend_streams() -> None:
    """Make printing safe: signs that a terminal lacks become question marks, and a closed stream leads nowhere.

    The number of a stream that was closed would go to the next file that is opened, and what is printed would go there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - for good
        elif number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def drop_stdout() -> None:
    """Have the interpreter's last flush go nowhere, when whoever read standard output is gone."""
    with suppress(OSError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _message(error: BaseException) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.format_message().rstrip('.')}; see {error.ctx.command_path} --help"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
