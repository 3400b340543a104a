"""Many charts at a time, on all of this machine's processors: drawing is most of the work of a large report.

    draw_together(charts)     # chart.svg of each is there now; the same text as it would be drawn alone

The processes that draw start with the first page that has many charts, and end with this one.
"""

import functools
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from reports.charts.svg import draw

if TYPE_CHECKING:
    from reports.charts.chart import Chart

MANY = 20  # charts; fewer are drawn in the time that the processes take to start
MOST = 8  # processes


def draw_together(charts: "Sequence[Chart]") -> None:
    """Fill `svg` of those that are not drawn yet; where they are few or there is one processor, leave that to the first use."""
    waiting = [chart for chart in charts if "svg" not in vars(chart)]
    processes = min(MOST, _processors())
    if len(waiting) < MANY or processes < 2:
        return
    drawn = _pool(processes).map(draw, [chart.plot for chart in waiting], chunksize=4)
    for chart, svg in zip(waiting, drawn, strict=True):
        vars(chart)["svg"] = svg


def _processors() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _pool(processes: int) -> ProcessPoolExecutor:
    """Started anew, not forked: this process may have threads. Ctrl-C is for this process alone."""
    fresh = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=fresh, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
