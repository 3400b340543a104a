"""What every verb of the command line has around it: errors become messages and exit codes. Imports no torch."""

import functools
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import typer

from bench.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, BenchError, Interrupted, NotFinite, PeerLost, RunFailed

F = TypeVar("F", bound=Callable[..., None])


def guarded(verb: F) -> F:
    """Turn the suite's errors into messages and documented exit codes."""

    @functools.wraps(verb)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except BenchError as error:
            complain(error, error.given, f"Allowed: {error.allowed}", error.remedy)
            depart(EXIT_USAGE)
        except RunFailed as error:
            complain(error, f"Failed: {error}")
            depart(EXIT_FAILED)
        except (Interrupted, KeyboardInterrupt) as error:
            complain(error, str(error) or "Interrupted; what was saved stays, and the same command goes on from there")
            depart(EXIT_INTERRUPTED)

    return wrapper  # type: ignore[return-value]


def depart(code: int) -> NoReturn:
    """Leave after an error. Beside other processes at once: the threads and the GPU that still wait for them can not be asked
    to stop, and would hold this process up, or abort it."""
    if joined():
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    raise typer.Exit(code) from None


def complain(error: BaseException, *parts: str) -> None:
    """Of several processes that share an error, the first one tells it; one that is alone with it says who it is."""
    rank = os.environ.get("RANK", "0")
    if rank != "0" and (shares(error) or not (joined() or getattr(error, "alone", False))):
        return
    who = "" if rank == "0" else f"process {rank}: "
    for part in parts:
        typer.echo(f"{who}{part}" if part.endswith((".", "?", "!")) else f"{who}{part}.", err=True)


def shares(error: BaseException) -> bool:
    return getattr(error, "elsewhere", False) or isinstance(error, Interrupted | KeyboardInterrupt | NotFinite | PeerLost)


def joined() -> bool:
    """Whether the processes have found each other; before that, each reads the same settings and finds the same mistake."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.distributed.is_initialized()


def typed() -> str:
    """The command line."""
    return shlex.join(["bench", *sys.argv[1:]])


def leave(code: int) -> None:
    if code:
        raise typer.Exit(code)
