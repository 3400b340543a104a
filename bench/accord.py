"""How the processes of one run go on together, or give up together.

    value = first(lambda: read_something())     # on the first process; its value, or its error, on all
    with agreement(): work_of_its_own()         # what fails on one process fails on all
    weights = shared(weights)                   # the first process's tensors, on all
    with company(): all_of_this()               # the end of another process is PeerLost

Between two collective operations a process may fail alone. Either that happens inside one of the first two, or the process
ends, and the others find the connection to it closed; why it ended, it leaves in the store through which they met.

Messages travel as JSON: nothing that arrives is ever run.
"""

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor

from bench import dist
from bench.checkpoint import Snapshot
from bench.errors import BenchError, Interrupted, NotFinite, PeerLost, RunFailed, SuiteError
from bench.memory import OutOfMemory, out_of_memory

T = TypeVar("T")
SHARED = (Interrupted, NotFinite, PeerLost)  # what all processes have at the same moment, or what one made of another's end
WORD_SECONDS, WORD_LENGTH = 2.0, 2000  # the last word of a process: how long it may take, how many characters
ERRORS: dict[str, type[SuiteError]] = {
    kind.__name__: kind for kind in (BenchError, RunFailed, NotFinite, OutOfMemory, Interrupted)
}


def first(work: Callable[[], T]) -> T:
    """What `work` returns on the first process (JSON, or None), on all; or what it raises there, on all.

    A collective operation: every process calls it.
    """
    if dist.world_size() == 1:
        return work()
    value: Any = None
    with agreement():
        if dist.rank() == 0:
            value = work()
    told = _told(value, 0)
    return value if dist.rank() == 0 else told  # type: ignore[no-any-return]


@contextlib.contextmanager
def agreement() -> Iterator[None]:
    """What the suite raises inside, on any process, is raised at the end on all. Nothing collective goes inside.

    On the others it is marked `elsewhere`: one process tells it.
    """
    if dist.world_size() == 1:
        yield
        return
    own: SuiteError | None = None
    try:
        with out_of_memory():
            yield
    except SuiteError as error:
        own = error
    problem = torch.tensor(dist.rank() if own else dist.world_size())
    torch.distributed.all_reduce(problem, torch.distributed.ReduceOp.MIN)
    teller = int(problem)
    if teller == dist.world_size():
        return
    name, arguments = _told((type(own).__name__, own.args) if own else None, teller)
    if own is not None and dist.rank() == teller:
        raise own
    theirs = ERRORS[name](*arguments)
    theirs.elsewhere = True
    raise theirs


def least(number: int) -> int:
    """The smallest number that any process has, on all. A collective operation."""
    found = torch.tensor(number)
    if dist.world_size() > 1:
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MIN)
    return int(found)


def _told(value: Any, teller: int) -> Any:
    """What one process has, as JSON, on all."""
    payload = json.dumps(value).encode() if dist.rank() == teller else b""
    size = torch.tensor(len(payload))
    torch.distributed.broadcast(size, teller)
    data = torch.frombuffer(bytearray(payload), dtype=torch.uint8) if payload else torch.zeros(int(size), dtype=torch.uint8)
    torch.distributed.broadcast(data, teller)
    return json.loads(data.numpy().tobytes())


def shared(tensors: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
    """The first process's tensors (on the CPU), or its None, on every process: files are read by one alone."""
    if dist.world_size() == 1:
        return tensors
    forms = first(lambda: {n: (str(v.dtype).removeprefix("torch."), list(v.shape)) for n, v in (tensors or {}).items()})
    if not forms:
        return tensors if dist.rank() == 0 else None
    found = {}
    for name, (dtype, shape) in forms.items():
        if dist.rank() == 0:
            assert tensors is not None
            found[name] = tensors[name].contiguous()
        else:
            found[name] = torch.empty(shape, dtype=getattr(torch, dtype))
        torch.distributed.broadcast(found[name], 0)
    return found


def shared_snapshot(found: Snapshot | None) -> Snapshot | None:
    """The first process's snapshot, or its None, on every process."""
    if dist.world_size() == 1:
        return found
    weights = shared(found.weights if found else None)
    names = [field.name for field in dataclasses.fields(Snapshot) if field.name != "weights"]
    facts = first(lambda: {name: getattr(found, name) for name in names} if found else None)
    if weights is None or facts is None:
        return None
    return Snapshot(**facts | {"weights": weights, "shape": tuple(facts["shape"])})


class Votes:
    """Wishes that are granted on every process at once, one call later: their sum travels while the next step computes."""

    def __init__(self, count: int) -> None:
        self.pending = torch.zeros(count, dtype=torch.int64)
        self.work: Any = None

    def __call__(self, *wishes: bool) -> tuple[bool, ...]:
        """Alone: the wishes. Else whether any process had each at the call before this one."""
        if dist.world_size() == 1:
            return wishes
        granted = self.last()
        self.pending = torch.tensor([int(wish) for wish in wishes])
        self.work = torch.distributed.all_reduce(self.pending, async_op=True)
        return granted

    def last(self) -> tuple[bool, ...]:
        """The outcome that is on its way."""
        if self.work is not None:
            self.work.wait()
        self.work = None
        return tuple(bool(wish) for wish in self.pending.tolist())


# Ends


@contextlib.contextmanager
def company() -> Iterator[None]:
    """Turn what a process sees when another one of its run has ended into PeerLost.

    An error that only this process has is left where the others can read it, before they find this one gone.
    """
    try:
        with out_of_memory():
            yield
    except Exception as error:
        if dist.world_size() > 1 and _is_loss(error):
            who = f"process {dist.rank()} of {dist.world_size()}"
            raise PeerLost(f"{who} lost another one; if it said why, that is above or below") from error
        if dist.world_size() > 1 and not (getattr(error, "elsewhere", False) or isinstance(error, SHARED)):
            reason = str(error) if isinstance(error, SuiteError) else f"{type(error).__name__}: {error}".splitlines()[0]
            _within(WORD_SECONDS, lambda: _store().set(_key(dist.rank()), reason[:WORD_LENGTH]))
        raise


def told_by_others(error: SuiteError) -> str:
    """For a PeerLost why the other process ended, "process 1: out of memory", if it left word; else nothing."""
    return _within(WORD_SECONDS, _words) or "" if isinstance(error, PeerLost) else ""


def _is_loss(error: Exception) -> bool:
    words = ("Connection closed", "Connection reset", "Broken pipe", "gloo", "NCCL")
    known = isinstance(error, torch.distributed.DistError) or any(word in str(error) for word in words)
    return isinstance(error, RuntimeError) and known


def _words() -> str:
    """What the others left, once one of them has."""
    store, others = _store(), [rank for rank in range(dist.world_size()) if rank != dist.rank()]
    deadline = time.monotonic() + WORD_SECONDS
    while time.monotonic() < deadline:
        if left := [rank for rank in others if store.check([_key(rank)])]:
            return "; ".join(f"process {rank}: {store.get(_key(rank)).decode(errors='replace')}" for rank in left)
        time.sleep(0.05)
    return ""


def _within(seconds: float, work: Callable[[], T]) -> T | None:
    """What `work` returns; None where it fails or takes longer: the store may be gone with a process, or never answer."""
    found: list[T] = []

    def attempt() -> None:
        with contextlib.suppress(Exception):
            found.append(work())

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None


def _store() -> Any:
    """Of names and values, through which the processes found each other; it needs no connection between two of them."""
    return torch.distributed.distributed_c10d._get_default_store()


def _key(rank: int) -> str:
    return f"bench/end of {rank}"
