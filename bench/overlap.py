"""Stages of successive batches at once: a GPU samples one batch while it decodes and looks at the one before.

    with lanes(device, 3) as three:
        for done in overlapped(noises, (sample, decode, look), three): ...

One thread launches everything, a batch after the other: how float32 products are computed is a switch of the process, which
acts when work is launched. On a GPU each stage has a stream of its own; there a stage waits for the one before it, while here
nothing waits but for the oldest batch, once IN_FLIGHT are under way. On a CPU a stage is done when its call returns.

Nothing in a stage may wait for the device: no `.cpu()`, `.item()`, `bool()`; see `bench.late` and `dist.fetched`.
"""

import contextlib
import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.late import Checks, postponed

IN_FLIGHT = 2  # batches on a GPU: one at work, one waiting behind it, so that the GPU never waits for us

Stage = Callable[[Any], Any]


class Lanes(Protocol):
    """Where the stages run. A mark stands for the moment at which what was launched before it is done."""

    in_flight: int  # batches that are under way when the oldest is waited for

    def launch(self, number: int, stage: Stage, given: Any, ready: Any) -> tuple[Any, Any]:
        """Start stage `number` on `given`, after the mark `ready` (None: nothing before); its value and its mark."""
        ...

    def wait(self, mark: Any, value: Any) -> None:
        """Until the mark is reached; from then on `value` can be used."""
        ...


@dataclass(frozen=True)
class Flight:
    """A batch that is under way."""

    value: Any
    mark: Any
    checks: Checks


def overlapped(given: Iterable[Any], stages: Sequence[Stage], lanes: Lanes) -> Iterator[Any]:
    """stages[-1](...stages[0](item)) of each item, in order; a stage of one item runs beside another one of the next.

    Where a batch comes out, what its stages required (`late.require`) is known to hold, or raised.
    """
    flying: deque[Flight] = deque()
    for item in given:
        flying.append(_launched(item, stages, lanes))
        if len(flying) == lanes.in_flight:
            yield _landed(flying.popleft(), lanes)
    while flying:
        yield _landed(flying.popleft(), lanes)


def _launched(value: Any, stages: Sequence[Stage], lanes: Lanes) -> Flight:
    mark = None
    # One at a time, a check costs no overlap: then it comes at once, before the next stage.
    with postponed() if lanes.in_flight > 1 else contextlib.nullcontext(Checks()) as checks:
        for number, stage in enumerate(stages):
            value, mark = lanes.launch(number, stage, value, mark)
    return Flight(value, mark, checks)


def _landed(flight: Flight, lanes: Lanes) -> Any:
    lanes.wait(flight.mark, flight.value)
    flight.checks.settle()
    return flight.value


# Where they run


@contextlib.contextmanager
def lanes(device: torch.device, stages: int) -> Iterator[Lanes]:
    """For so many stages on `device`; after it, whatever was launched inside comes before what is launched then."""
    if device.type != "cuda":
        yield InLine()
        return
    streams = Streams(device, stages)
    try:
        yield streams
    finally:
        streams.join()


class InLine:
    """One after the other: what a CPU has."""

    in_flight = 1

    def launch(self, number: int, stage: Stage, given: Any, ready: Any) -> tuple[Any, Any]:
        del number, ready
        return stage(given), None

    def wait(self, mark: Any, value: Any) -> None:
        del mark, value


class Streams:
    """A CUDA stream for each stage."""

    in_flight = IN_FLIGHT

    def __init__(self, device: torch.device, count: int) -> None:
        self.before = torch.cuda.current_stream(device)  # on which the weights, and the sums to add to, were made
        self.streams = _streams(device, count)
        for stream in self.streams:
            stream.wait_stream(self.before)

    def launch(self, number: int, stage: Stage, given: Any, ready: Any) -> tuple[Any, Any]:
        stream = self.streams[number]
        with torch.cuda.stream(stream):
            if ready is not None:
                stream.wait_event(ready)
            keep_for(stream, given)
            value = stage(given)
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # noise is made meanwhile
            done.record(stream)
        return value, done

    def wait(self, mark: Any, value: Any) -> None:
        mark.synchronize()
        keep_for(self.before, value)

    def join(self) -> None:
        """On an error too: what is freed now may still be written to."""
        for stream in self.streams:
            self.before.wait_stream(stream)


@functools.cache
def _streams(device: torch.device, count: int) -> "list[torch.cuda.Stream]":
    """The same ones every time: memory that one stream has freed, torch gives to no other."""
    return [torch.cuda.Stream(device) for _ in range(count)]  # type: ignore[no-untyped-call]


def keep_for(stream: Any, value: Any) -> None:
    """The memory of these tensors, which come from another stream, is not given away before `stream` is done with them."""
    for tensor in tensors_in(value):
        if tensor.device.type == "cuda":
            tensor.record_stream(stream)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """A tensor itself; those in the fields of a dataclass, in a tuple or a list."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_in(part)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name))
