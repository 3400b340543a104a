"""Where the jobs are, as the queue of Slurm says, or the processes of this machine. Imports no torch.

places = places(submissions)     # by run: queued, running, gone, or unknown
"""

import contextlib
import logging
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cluster_job import END, START
from bench.store import read_json

if TYPE_CHECKING:
    from bench.cluster import Submission

QUEUED = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
RUNNING = ("CONFIGURING", "RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED")


@dataclass(frozen=True)
class Place:
    """Where a job is: queued, running, gone, or unknown where nobody can be asked. `reason` in the queue's words."""

    state: str
    reason: str = ""


def places(submissions: Sequence["Submission"]) -> dict[str, Place]:
    """The place of every submission, by run."""
    found = {s.run: local_place(s) for s in submissions if s.launcher == "local"}
    return found | slurm_places([s for s in submissions if s.launcher == "slurm"])


# Slurm


def slurm_places(submissions: Sequence["Submission"]) -> dict[str, Place]:
    """One call of squeue for all; sacct, where there is one, for the last words about those that have left the queue."""
    if not submissions:
        return {}
    try:
        queue = squeue([s.job for s in submissions])
    except (OSError, subprocess.SubprocessError) as error:
        message = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return {s.run: Place("unknown", f"Slurm does not answer ({message[0] if message else error})") for s in submissions}
    found = {}
    for s in submissions:
        state, reason = queue.get(s.job, ("", ""))
        if state in QUEUED:
            found[s.run] = Place("queued", "" if reason == "None" else reason)
        elif state in RUNNING:
            found[s.run] = Place("running")
        else:
            found[s.run] = Place("gone", state or last_state(s))
    return found


def squeue(jobs: Sequence[str]) -> dict[str, tuple[str, str]]:
    """State and reason of the jobs that Slurm's controller remembers."""
    command = ["squeue", "--noheader", "--states=all", "--format=%i|%T|%r", f"--jobs={','.join(jobs)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode and "Invalid job id" not in done.stderr:  # one job alone, and forgotten
        done.check_returncode()
    lines = [line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    return {job.strip(): (state.strip(), reason.strip()) for job, state, reason in lines}


def last_state(submission: "Submission") -> str:
    """What the accounting knows of a job; "" without an accounting."""
    import submitit

    with quiet("submitit"):
        state = submitit.SlurmJob(submission.folder / "log", submission.job).get_info("force").get("State", "")
    return str(state)


@contextlib.contextmanager
def quiet(name: str) -> Iterator[None]:
    """Without that logger's warnings: a cluster without accounting is no news."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


# This machine


def local_place(submission: "Submission") -> Place:
    """By the process that submitit started: its number is the job's, and its command line names the job's folder."""
    if submission.host != socket.gethostname():
        return Place("unknown", f"it was started on {submission.host}: ask there")
    process = Path("/proc") / submission.job
    try:
        if process.parent.is_dir():
            alive = os.fsencode(submission.folder / "log") in (process / "cmdline").read_bytes()
        else:  # another system than Linux
            os.kill(int(submission.job), 0)
            alive = True
    except (OSError, ValueError):
        alive = False
    if not alive or read_json(submission.folder / END).get("job") == submission.job:
        return Place("gone")
    started = read_json(submission.folder / START).get("job") == submission.job
    return Place("running") if started else Place("queued", "another run has its turn")
