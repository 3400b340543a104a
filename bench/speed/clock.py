"""Timing a piece of work: warmed up, the device synchronised, garbage collection off, rounds for a budget of time.

seconds = time_rounds(work, device, 2.0)     # of each round
"""

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

MIN_ROUNDS, MAX_ROUNDS = 5, 200
WARM_UP = 2


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of one call."""
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


def time_rounds(work: Callable[[], object], device: torch.device, budget: float) -> list[float]:
    """Seconds of each call of `work`, repeated for the budget and at least MIN_ROUNDS times, after WARM_UP calls."""
    for _ in range(WARM_UP):
        work()
    rounds: list[float] = []
    with garbage_collection_off():
        while len(rounds) < MIN_ROUNDS or sum(rounds) < budget:
            rounds.append(seconds(work, device))
    return rounds


# Several pieces of work, in turns


def in_turns(
    works: Sequence[Callable[[], object]],
    device: torch.device,
    budget: float,
    deadline: float = math.inf,
    burst: float = 0.0,
) -> list[list[float]]:
    """Seconds of each work's rounds, each round a call of every work, one after the other; warmed up already.

    So a slower spell of the machine meets all of them, and ratios within a round keep. `budget`: seconds for each work on
    average; rounds end early, but not before MIN_ROUNDS, at `deadline` (of time.monotonic). `burst`: each call becomes as many
    as take so many seconds, without a wait in between; their mean counts.
    """
    calls = [max(1, round(burst / max(seconds(work, device), 1e-6))) if burst else 1 for work in works]
    rounds: list[list[float]] = [[] for _ in works]
    spent = 0.0
    with garbage_collection_off():
        while works and len(rounds[0]) < MAX_ROUNDS:
            if len(rounds[0]) >= MIN_ROUNDS and (spent >= budget * len(works) or time.monotonic() > deadline):
                break
            for work, own, n in zip(works, rounds, calls, strict=True):
                took = seconds(work if n == 1 else partial(_repeat, work, n), device)
                own.append(took / n)
                spent += took
    return rounds


def _repeat(work: Callable[[], object], n: int) -> None:
    for _ in range(n):
        work()
