"""What runs inside a job of the cluster, once a process of it: `bench run` for one run, as a child.

    executor.submit(Work(("run", "soflow", ..., "--expect", NAME), folder="jobs/NAME"))      # as bench.cluster does

A child, because submitit saves and requeues within the handler of its signal, wherever the program is, and then ends the
process: in the middle of a training step there is no state to save. Here the handlers only note what arrives. The child is
told by SIGTERM, ends its step, saves and stops as after Ctrl-C; then submitit's own handler is called, which requeues.
The child has torch and all the memory, this process has neither. Writes jobs/RUN/start.json and end.json.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout

from bench.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, BenchError
from bench.store import write_atomic

START, END = "start.json", "end.json"
POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0
PATIENCE_SECONDS = 900.0  # what was told to stop waits so long for what comes next: a requeue, or the job's end
RENDEZVOUS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PORTS = range(10_000, 30_000)  # below those that Linux gives to outgoing connections


@dataclass(frozen=True)
class Work:
    """The callable that submitit stores and calls; after a requeue, the same again."""

    words: tuple[str, ...]  # of the command line, after `bench`
    folder: str  # jobs/RUN
    turn: str = ""  # a lock file, where the jobs share one machine: they run one after the other

    def __call__(self) -> None:
        """Returns when the run is done; else raises SystemExit with its code, or with submitit's after a requeue."""
        import submitit

        job = submitit.JobEnvironment()
        again = signal.Signals[f"SIG{job.USR_SIG}"]
        requeue: Any = signal.getsignal(again)  # submitit's handler, of the moment before this call
        if job.global_rank == 0:
            (Path(self.folder) / END).unlink(missing_ok=True)
        try:
            variables = environment(job)
        except BenchError as error:
            self.note_end(job, EXIT_USAGE, str(error))
            raise SystemExit(str(error)) from None
        with noted(signal.SIGTERM, signal.SIGINT, again) as arrived:
            with turn_of(self.turn, arrived) as granted:
                if job.global_rank == 0:
                    write_atomic(Path(self.folder) / START, json.dumps({"job": job.job_id}) + "\n")
                code = attend(self.words, variables, arrived, again) if granted else EXIT_INTERRUPTED
                if self.turn and not arrived:  # before the next one has its turn: never do two look as if they ran
                    self.note_end(job, code, f"process {job.global_rank} ended with {code}" if code else "")
            if code and arrived:
                self.stop(job, lambda: again in arrived, lambda: requeue(again, None))
        if code or job.global_rank == 0:
            self.note_end(job, code, f"process {job.global_rank} ended with {code}" if code else "")
        if code:
            raise SystemExit(code)

    def stop(self, job: Any, is_asked: Callable[[], bool], requeue: Callable[[], None]) -> None:
        """After the child has saved: requeue if that was asked for, and do not end before Slurm ends this process.

        SIGTERM alone comes with a cancelled job, and with a preemption after which Slurm requeues by itself: both kill what
        is left. A process that ended now would make it a failed job, and on several processes take the first one with it.
        """
        if job.global_rank == 0 and not (Path(self.folder) / END).exists():
            self.note_end(job, EXIT_INTERRUPTED, "stopped by a signal, its state saved")
        if job.cluster == "slurm":
            wait(is_asked)
        if is_asked():
            try:
                requeue()  # the first process: raises SystemExit when it is requeued
            except Exception as error:  # submitit's, when it was requeued too often; or scontrol's refusal
                self.note_end(job, EXIT_INTERRUPTED, str(error))
                raise SystemExit(EXIT_INTERRUPTED) from None
            wait(lambda: False)
        raise SystemExit(EXIT_INTERRUPTED)

    def note_end(self, job: Any, code: int, reason: str) -> None:
        write_atomic(Path(self.folder) / END, json.dumps({"job": job.job_id, "code": code, "reason": reason}) + "\n")

    def checkpoint(self) -> Any:
        """What to call after the requeue, as submitit asks."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


# Signals and the child


@contextlib.contextmanager
def noted(*numbers: int) -> Iterator[list[int]]:
    """Inside, these signals are only appended to the list."""
    arrived: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def attend(words: Sequence[str], variables: dict[str, str], arrived: Sequence[int], blocked: int) -> int:
    """Run `bench WORDS`; when a signal has arrived here, tell it once to save and stop. Returns its exit code, >= 0."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {blocked})  # inherited: Slurm may signal the whole tree, and this one kills
    child = subprocess.Popen([sys.executable, "-m", "bench", *words], env=variables)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {blocked})
    told, since = False, 0.0
    try:
        while (code := child.poll()) is None:
            since = since or (time.monotonic() if arrived else 0.0)
            # SIGTERM may have reached the child too, and a second one would disturb it in its last lines.
            if arrived and not told and (set(arrived) != {signal.SIGTERM} or time.monotonic() - since > GRACE_SECONDS):
                child.terminate()
                told = True
            time.sleep(POLL_SECONDS)
    finally:
        if child.poll() is None:
            child.terminate()
    return code if code >= 0 else EXIT_FAILED  # < 0: killed by a signal


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not until() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def turn_of(lock_file: str, arrived: Sequence[int]) -> Iterator[bool]:
    """Hold the lock, if there is one to hold; False when a signal arrived before that."""
    with contextlib.ExitStack() as stack:
        lock = FileLock(lock_file) if lock_file else None
        while lock and not lock.is_locked and not arrived:
            with contextlib.suppress(Timeout):
                stack.enter_context(lock.acquire(timeout=1))
        yield not arrived


# Several processes


def environment(job: Any) -> dict[str, str]:
    """The child's environment variables: of this process, and where torch.distributed finds the job's other processes."""
    found = {name: value for name, value in os.environ.items() if name not in RENDEZVOUS}
    if threads := found.get("SLURM_CPUS_PER_TASK"):
        found.setdefault("OMP_NUM_THREADS", threads)
    if job.num_tasks > 1:
        found |= {"RANK": str(job.global_rank), "WORLD_SIZE": str(job.num_tasks), "LOCAL_RANK": str(job.local_rank)}
        found |= {"MASTER_ADDR": address_of(job.hostnames[0]), "MASTER_PORT": str(port_of(job.job_id))}
    return found


def port_of(job_id: str) -> int:
    """The same on every node of a job, and another for the next one; and not that of the job before a requeue."""
    number = int(re.sub(r"\D", "", job_id)) * 7 + int(os.environ.get("SLURM_RESTART_COUNT", 0))
    return PORTS[number % len(PORTS)]


def address_of(node: str) -> str:
    """The address by which Slurm itself reaches a node: its name is Slurm's own and need not resolve."""
    command = ["scontrol", "--oneliner", "show", "node", node]
    text = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"\bNodeAddr=(\S+)", text.stdout)
    address = found.group(1) if found else node
    try:
        socket.getaddrinfo(address, None)
    except OSError as error:
        remedy = "Set NodeAddr in slurm.conf, or put the name into /etc/hosts."
        raise BenchError(f"No address for node {node} ({address}: {error})", "a name that resolves", remedy) from error
    return address
