"""Timing a piece of work: warmed up, the device synchronised, garbage collection off, rounds for a budget of time.

seconds = time_rounds(work, device, 2.0)     # of each round
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

MIN_ROUNDS = 5
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
