"""A grid of runs as jobs of a cluster: what was submitted, submitting the rest, and what has become of each.

    for outcome in submit(suite, Root(Path(".")), "slurm"):     # one a run: submitted, or why not
    for line in survey(Root(Path("."))):                        # one a submission: queued, running, done, failed, ...

jobs/RUN/submission.json  which job, of which launcher, with which settings
         settings.toml    the run's resolved settings, which the job reads
         start.json       which job came to work on it, written by the job (bench.cluster_job)
         end.json         how that ended, likewise
         log/             submitit's files: the job's output, and its callable, pickled; only a job reads that

Nothing that is read here is ever run. Imports no torch.
"""

import hashlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from filelock import FileLock

from bench import cluster_queue
from bench.cluster_job import END, Work
from bench.cluster_submit import check, hand_over
from bench.config import RunConfig, Suite
from bench.errors import EXIT_INTERRUPTED, BenchError
from bench.store import Root, read_json, write_atomic

GONE = cluster_queue.Place("gone")


@dataclass(frozen=True)
class Submission:
    """jobs/RUN/ and what its submission.json says."""

    folder: Path
    launcher: str
    job: str
    host: str
    settings: str  # sha256 of what the job was to do
    submitted_at: str

    @property
    def run(self) -> str:
        return self.folder.name

    @property
    def log(self) -> Path:
        return self.folder / "log" / f"{self.job}_0_log.out"


@dataclass(frozen=True)
class Line:
    """What has become of a submission."""

    run: str
    state: str  # queued, running, done, failed, stopped, lost, unknown
    job: str
    launcher: str
    images: int
    total: int  # 0: not known yet
    reason: str
    log: str
    submitted_at: str


# The records


def submissions(root: Root) -> list[Submission]:
    """All that were submitted, the oldest first. Raises BenchError for a damaged record."""
    found = [read_submission(path.parent) for path in root.jobs.glob("*/submission.json")]
    return sorted((s for s in found if s), key=lambda s: (s.submitted_at, s.run))


def read_submission(folder: Path) -> Submission | None:
    record = read_json(folder / "submission.json")
    if not record:
        return None
    try:
        return Submission(folder, *(str(record[key]) for key in ("launcher", "job", "host", "settings", "submitted_at")))
    except KeyError as error:
        allowed = "launcher, job, host, settings, submitted_at"
        raise BenchError(
            f"{folder}/submission.json lacks {error}", allowed, f"Delete {folder} to submit that run anew."
        ) from error


def survey(root: Root, only: set[str] | None = None) -> list[Line]:
    """A line a submission, the oldest first; of the runs in `only`, if given."""
    found = [s for s in submissions(root) if only is None or s.run in only]
    # A job that was stopped may be in the queue again; any other end is one.
    open_ = [s for s in found if read_json(s.folder / END).get("code", EXIT_INTERRUPTED) == EXIT_INTERRUPTED]
    places = cluster_queue.places(open_)
    return [describe(root, s, places.get(s.run, GONE)) for s in found]


def describe(root: Root, submission: Submission, place: cluster_queue.Place) -> Line:
    """The queue knows best whether a job is still there, the job itself how it ended, the run how far it came."""
    end = read_json(submission.folder / END)  # only now: it may have ended while the queue was asked
    status = status_of(root, submission.run)
    state, reason = place.state, place.reason
    if state == "gone" and end:
        state = {0: "done", EXIT_INTERRUPTED: "stopped"}.get(end["code"], "failed")
        reason = status.get("reason", "") if state == "failed" and status["state"] == "failed" else end["reason"]
    elif state == "gone":
        state, reason = "lost", f"the job is gone without an end{f' ({reason})' if reason else ''}"
    return Line(
        run=submission.run, state=state, job=submission.job, launcher=submission.launcher, images=status["images"],
        total=status.get("total", 0), reason=reason, log=str(submission.log), submitted_at=submission.submitted_at,
    )  # fmt: skip


def status_of(root: Root, run: str) -> dict[str, Any]:
    """The run's own status; of a run that can not be read only that, so that the others are shown."""
    try:
        return root.run(run).read_status()
    except BenchError as error:
        return {"state": "failed", "images": 0, "reason": error.given}


# Submitting


@dataclass(frozen=True)
class Outcome:
    """What submitting did about a run."""

    run: str
    job: str
    state: str  # submitted, or the state that made it unnecessary
    reason: str = ""


def submit(suite: Suite, root: Root, launcher: str, *, again: bool = False) -> Iterator[Outcome]:
    """Submit every run that is not queued, running or done already; one outcome a run, as it happens.

    Raises BenchError where the launcher is missing, and where the cluster refuses a job; what was submitted before stays.
    """
    check(suite.cluster, launcher)
    root.check_writable()
    configs = suite.runs()
    root.jobs.mkdir(parents=True, exist_ok=True)
    with FileLock(root.jobs / ".lock"):  # two people, or one and a script, with the same grid
        known = {line.run: line for line in survey(root, {config.name for config in configs})}
        for config in configs:
            text, settings = settings_of(config, suite)
            before, line = read_submission(root.jobs / config.name), known.get(config.name)
            if before and line and (reason := unnecessary(line, before.settings == settings, again)) is not None:
                yield Outcome(config.name, line.job, line.state, reason)
                continue
            yield Outcome(config.name, submit_one(config, suite, root, launcher, text, settings, again), "submitted")


def unnecessary(line: Line, same_settings: bool, again: bool) -> str | None:
    """What there is to say about a run that need not be submitted; None where it has to be."""
    if line.state in ("queued", "running", "unknown"):
        return line.reason if same_settings else "with other ways to measure: submit it again when that job has ended"
    return "" if line.state == "done" and same_settings and not again else None


def settings_of(config: RunConfig, suite: Suite) -> tuple[str, str]:
    """All settings of one run as TOML, and a digest of those that say what is to be done."""
    measuring = suite.model_dump(mode="json", exclude={"origin", "run", "train", "methods", "datasets", "cluster"})
    tables = measuring | config.as_suite()
    wanted = json.dumps({name: table for name, table in tables.items() if name != "loop"}, sort_keys=True)
    return tomli_w.dumps(tables), hashlib.sha256(wanted.encode()).hexdigest()


def submit_one(config: RunConfig, suite: Suite, root: Root, launcher: str, text: str, settings: str, again: bool) -> str:
    """Write the settings, hand the job over, write the record. Returns the job's number."""
    folder = (root.jobs / config.name).resolve()
    write_atomic(folder / "settings.toml", text)
    words = ["run", config.method, "--net", config.net, "--seed", str(config.seed), "--config", str(folder / "settings.toml")]
    words += ["--root", str(root.path.resolve()), "--expect", config.name, *(["--again"] if again else [])]
    if launcher == "local" and suite.cluster.processes > 1:
        words += ["--gpus", str(suite.cluster.processes)]
    turn = str(root.jobs.resolve() / ".turn") if launcher == "local" else ""
    (folder / END).unlink(missing_ok=True)
    job = hand_over(Work(tuple(words), str(folder), turn), suite.cluster, launcher)
    record = {"launcher": launcher, "job": job, "host": socket.gethostname(), "settings": settings, "words": words}
    record["submitted_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_atomic(folder / "submission.json", json.dumps(record, indent=1) + "\n")
    return job
