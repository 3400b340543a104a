"""A cell that is being measured: what it can not do ends it with a reason, and not the others.

live = Live(cell)
attempt(live, warm_up, deadline)
in_turns([partial(attempt, live, live.step)], ...)
"""

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from bench.errors import BenchError, SuiteError
from bench.memory import out_of_memory
from bench.speed.cells import Cell

BUDGET_SPENT = "the time that --minutes gives was used up"
T = TypeVar("T")


@dataclass
class Live:
    """A cell and what is known of it; `step` is None from the moment that it can not go on."""

    cell: Cell
    compiled: bool = False
    step: Callable[[], object] | None = None
    status: str = "ok"
    reason: str = ""
    first: float = 0.0  # seconds of the first call, compilation included
    rounds: list[float] = field(default_factory=list)

    def end(self, status: str, reason: str) -> None:
        self.step, self.status, self.reason = None, status, reason


def attempt(live: Live, work: Callable[[], T], deadline: float = math.inf) -> T | None:
    """`work`, unless the cell has ended or the time is over (of time.monotonic)."""
    if live.status == "ok" and time.monotonic() > deadline:
        live.end("skipped", BUDGET_SPENT)
    if live.status != "ok":
        return None
    try:
        with out_of_memory():
            return work()
    except SuiteError as error:
        live.end("skipped" if isinstance(error, BenchError) else "failed", str(error))
    except Exception as error:  # of a compiler, or of a kernel that is not there: a row that says so, and the next cell
        live.end("failed", f"{type(error).__name__}: {first_line(error)}")
    gc.collect()
    torch.cuda.empty_cache()
    return None


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
