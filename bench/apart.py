"""A measurement in a process of its own, so that nothing else's memory and caches are in it.

rows = in_own_process("measures speed", measure, config, suite)
"""

import math
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from bench.errors import BenchError, RunFailed
from bench.memory import OutOfMemory

T = TypeVar("T")


def in_own_process(what: str, work: Callable[..., T], *arguments: Any, limit: float = math.inf) -> T:
    """`work(*arguments)` in a fresh process with as many threads; work and arguments are pickled, between our own two alone.

    Raises what it raised there, and RunFailed, naming `what` the process does, when that process was killed, or ended here
    because it took longer than `limit` seconds.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(theirs, torch.get_num_threads(), work, arguments), daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(None if limit == math.inf else limit):
            raise RunFailed(f"the process that {what} was ended after {limit:,.0f} seconds")
        outcome = ours.recv()
    except EOFError:
        child.join()
        kind = OutOfMemory if child.exitcode == -signal.SIGKILL else RunFailed  # the system does that when memory runs out
        raise kind(f"the process that {what} ended with code {child.exitcode} (out of memory?)") from None
    finally:
        child.kill()
        child.join()
    if isinstance(outcome, BaseException):
        raise outcome
    found: T = outcome
    return found


def _in_child(channel: Connection, threads: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches both, as Slurm's signals do: the parent ends this one
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(threads)
    try:
        channel.send(work(*arguments))
    except (BenchError, RunFailed, RuntimeError, MemoryError) as error:
        channel.send(error)
