"""Where everything lies, and how it is written: whole or not at all. Imports no torch.

root = Root(Path("."))
run = root.run("digits-soflow-T-2-s0-1a2b3c4d")
with run.locked():
    run.write_status("running", images=0)
"""

import contextlib
import errno
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.errors import BenchError, RunFailed

FORMAT = 1  # of a run directory; another number is refused


# Files


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `path` whole or not at all: a temporary file beside it, synchronised, then renamed.

    Raises BenchError without permission and RunFailed on a full disk; the file that was there stays.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; what was written there is synchronised at the end and takes the place of `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Raises BenchError for a place that can not be written, before the work whose result it is for."""
    if path.is_dir():
        raise BenchError(f"{path} is a folder", "the name of a file", "Add a name: FOLDER/NAME.")
    probe = path.with_name(f".{path.name}.probe.{os.getpid()}")
    write_atomic(probe, b"")
    probe.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals into messages that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFailed(f"the disk is full: could not write {path}; free some space and run the same command") from error
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise BenchError(
            f"Cannot write {path} ({reason})", "a place that can be written to", "Choose another with --root DIR or --out."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; empty when there is none. Raises BenchError when it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{path} is damaged ({error})", "a JSON object", f"Restore it, or delete {path.parent} to start that run anew."
        ) from error
    if not isinstance(value, dict):
        raise BenchError(f"{path} holds no JSON object", "a JSON object", f"Delete {path.parent} to start that run anew.")
    return value


# Places


def cache_root() -> Path:
    """The user's cache folder: $XDG_CACHE_HOME, by default ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base) if os.path.isabs(base) else Path.home() / ".cache"


def suite_cache() -> Path:
    """The suite's part of it. Files in it may be deleted at any time."""
    return cache_root() / "one-step-bench"


@dataclass(frozen=True)
class Root:
    """The folder that holds runs/, results/, refs/, jobs/ and site/."""

    path: Path

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def results(self) -> Path:
        return self.path / "results"

    @property
    def references(self) -> Path:
        return self.path / "refs"

    @property
    def site(self) -> Path:
        return self.path / "site"

    @property
    def speed(self) -> Path:
        """What `bench speed` measured, a folder a device (bench.speed.results)."""
        return self.path / "speed"

    @property
    def jobs(self) -> Path:
        """What was submitted with `bench run --launcher`, a folder a run (bench.cluster)."""
        return self.path / "jobs"

    def run(self, name: str) -> "RunDirectory":
        return RunDirectory(self.runs / name)

    def result_file(self, run: str) -> Path:
        return self.results / f"{run}.parquet"

    def check_writable(self) -> None:
        """Raises BenchError before hours of work whose result could not be stored."""
        for folder in (self.runs, self.results, self.references):
            probe = folder / f".probe.{os.getpid()}"
            write_atomic(probe, b"")
            probe.unlink(missing_ok=True)

    def run_directories(self) -> "list[RunDirectory]":
        """The runs found, by name."""
        if not self.runs.is_dir():
            return []
        return [RunDirectory(path) for path in sorted(self.runs.iterdir()) if (path / "status.json").is_file()]


@dataclass(frozen=True)
class RunDirectory:
    """runs/<name>/ and the files in it."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def train_log(self) -> Path:
        return self.path / "train.jsonl"

    @property
    def text_log(self) -> Path:
        return self.path / "log.txt"

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    def snapshot(self, images: int) -> Path:
        return self.snapshots / f"{images:012d}.safetensors"

    def newest_snapshot(self) -> Path | None:
        """The snapshot with the most images seen; None before the first."""
        found = sorted(p for p in self.snapshots.glob("*.safetensors") if re.fullmatch(r"\d{12}", p.stem))
        return found[-1] if found else None

    # Status and log

    def read_status(self) -> dict[str, Any]:
        """state (new | running | stopped | failed | finished), images, total, reason, ... Refuses another format."""
        status = read_json(self.status)
        if not status:
            return {"state": "new", "images": 0}
        if not {"format", "state", "images"} <= status.keys() and status.get("format", FORMAT) == FORMAT:
            raise BenchError(
                f"{self.status} lacks entries", "format, state, images", f"Delete {self.path} to start that run anew."
            )
        if status.get("format") != FORMAT:
            raise BenchError(
                f"{self.path} was written in format {status.get('format')!r}",
                f"format {FORMAT}",
                "Use the version of the suite that wrote it, or delete that folder.",
            )
        return status

    def write_status(self, state: str, **facts: Any) -> None:
        record = {"format": FORMAT, "state": state, **facts, "updated_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        write_atomic(self.status, json.dumps(record, indent=1) + "\n")

    def log(self, message: str) -> None:
        append_line(self.text_log, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {message}")

    def read_train_log(self) -> list[dict[str, Any]]:
        """The lines of train.jsonl; a last line cut short by a crash is left out. Raises BenchError for other damage."""
        if not self.train_log.is_file():
            return []
        lines = self.train_log.read_text(encoding="utf-8", errors="replace").splitlines()
        records = [_record(line) for line in lines]
        if None in records[:-1]:
            raise BenchError(
                f"{self.train_log} is damaged in line {records.index(None) + 1}",
                "a JSON object with the images seen in each line",
                f"Mend that line, or delete {self.path} to start that run anew.",
            )
        return [record for record in records if record is not None]

    def truncate_train_log(self, images: int) -> None:
        """Forget what lies past `images`: a resumed run writes it again, the same."""
        kept = [json.dumps(record) for record in self.read_train_log() if record["images"] <= images]
        if self.train_log.is_file():
            write_atomic(self.train_log, "".join(line + "\n" for line in kept))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. Raises BenchError when another has it; the lock goes with its process."""
        with explain_os_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise BenchError(
                    f"{self.path} is in use by another process",
                    "one process a run",
                    "Wait for it, or stop it; `bench list runs` shows what is running.",
                ) from None
        try:
            for left_over in self.path.rglob(".*.tmp"):  # of a process that was killed while it wrote
                left_over.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def in_use(self) -> bool:
        """Whether a process holds the run."""
        try:
            with self.locked():
                return False
        except BenchError:
            return True


def _record(line: str) -> dict[str, Any] | None:
    """A line of train.jsonl; None where it is not whole."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "images" in record else None
