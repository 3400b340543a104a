"""What every verb of the command line has around it: errors become messages and exit codes. Imports no torch."""

import functools
import shlex
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from bench.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, BenchError, Interrupted, RunFailed

F = TypeVar("F", bound=Callable[..., None])


def guarded(verb: F) -> F:
    """Turn the suite's errors into messages and documented exit codes."""

    @functools.wraps(verb)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except BenchError as error:
            complain(error.given, f"Allowed: {error.allowed}", error.remedy)
            raise typer.Exit(EXIT_USAGE) from None
        except RunFailed as error:
            complain(f"Failed: {error}")
            raise typer.Exit(EXIT_FAILED) from None
        except (Interrupted, KeyboardInterrupt) as error:
            complain(str(error) or "Interrupted; what was saved stays, and the same command goes on from there")
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return wrapper  # type: ignore[return-value]


def complain(*parts: str) -> None:
    for part in parts:
        typer.echo(part if part.endswith((".", "?", "!")) else f"{part}.", err=True)


def typed() -> str:
    """The command line."""
    return shlex.join(["bench", *sys.argv[1:]])


def leave(code: int) -> None:
    if code:
        raise typer.Exit(code)
