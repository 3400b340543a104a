"""Where a number comes from: commit, versions, machine, and the command that makes it again. Imports no torch."""

import functools
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import bench
from bench.config import SHIPPED, RunConfig, Suite, load
from bench.store import RunDirectory, read_json, write_atomic

PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "safetensors", "pillow")


def now() -> str:
    """UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@functools.cache
def commit() -> tuple[str, bool]:
    """The suite's own commit, and whether its work tree differs from it; ("unknown", True) outside a git checkout."""
    here = Path(bench.__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != here:
            return "unknown", True
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def versions() -> dict[str, str]:
    found = {"bench": bench.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def processor(used: int | None = None) -> str:
    """The CPU's own name, how many of its threads this process may use, and how many of these it does, where it is told.

    A speed depends on the last: "AMD EPYC (2 threads)" and "AMD EPYC (1 of 2 threads)" are two devices.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = f"{allowed} thread{'s' * (allowed > 1)}"
    if used is not None and used != allowed:
        count = f"{used} of {count}" if used < allowed else f"{used} threads on {allowed}"
    return f"{_processor_name()} ({count})"


@functools.cache
def _processor_name() -> str:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return name


def command(config: RunConfig, suite: Suite) -> str:
    """The command that trains and measures this run again: every setting that is not what bench.toml has by itself."""
    run = {
        "methods": [config.method],
        "dataset": config.dataset,
        "net": config.net,
        "epochs": config.epochs,
        "seed": config.seed,
    }
    usual = load(SHIPPED if SHIPPED.is_file() else None, {"run": run})
    words = ["bench", "run", config.method, "--dataset", config.dataset, "--net", config.net]
    words += ["--epochs", json.dumps(config.epochs).removesuffix(".0"), "--seed", str(config.seed)]
    tables = [
        (name, getattr(suite, name).model_dump(), getattr(usual, name).model_dump()) for name in ("train", "eval", "speed")
    ]
    expected = usual.runs()[0]
    tables.append((f"methods.{config.method}", config.hyperparameters, expected.hyperparameters))
    tables.append((f"datasets.{config.dataset}", config.dataset_options, expected.dataset_options))
    if config.origin:  # nothing here can make its weights again: the command scores them
        words, tables = ["bench", "eval", config.name], [table for table in tables if table[0] == "eval"]
    for table, ours, theirs in tables:
        for key, value in ours.items():
            for name, leaf in value.items() if isinstance(value, dict) else [("", value)]:
                other = theirs.get(key, {}).get(name) if name else theirs.get(key)
                if leaf != other:
                    words += ["--set", f"{table}.{key}{name and '.' + name}={json.dumps(leaf, ensure_ascii=False)}"]
    if config.origin:
        return shlex.join(words)
    if suite.loop.snapshots != usual.loop.snapshots:  # no result depends on it, but which there are
        words += ["--set", f"loop.snapshots={suite.loop.snapshots}"]
    return shlex.join([*words, "--expect", config.name])  # refused where other defaults would make it another run


def stamp(config: RunConfig, images: int, device: str) -> dict[str, Any]:
    """The columns that every row of a run shares, as of now."""
    sha, dirty = commit()
    return {
        "run": config.name,
        "method": config.method,
        "dataset": config.dataset,
        "net": config.net,
        "epochs": config.epochs,
        "images": images,
        "train_seed": config.seed,
        "precision": config.train.precision + (" compiled" if config.train.compile else ""),
        "attention": config.train.attention,
        "device": device,
        "commit": sha,
        "dirty": dirty,
        "started_at": now(),
    }


def measurement(config: RunConfig, suite: Suite, *, device: str, started_by: str) -> dict[str, Any]:
    """The circumstances of one measurement of a run: the suite may have moved on since it was trained."""
    sha, dirty = commit()
    return {
        "command": command(config, suite),
        "started_by": started_by,  # the command line as it was typed
        "started_at": now(),
        "commit": sha,
        "dirty": dirty,
        "versions": versions(),
        "device": device,
        "processor": processor(),
        "platform": platform.platform(),
    }


def note_session(run: RunDirectory, device: str) -> None:
    """Add to provenance.json under which commit, versions and device training starts or goes on, where they changed."""
    description = read_json(run.provenance)
    sha, dirty = commit()
    session = {"commit": sha, "dirty": dirty, "versions": versions(), "device": device}
    sessions = description.setdefault("sessions", [])
    if not sessions or {k: v for k, v in sessions[-1].items() if k in session} != session:
        sessions.append({"started_at": now(), **session})
        write_atomic(run.provenance, as_json(description))


def describe(config: RunConfig, suite: Suite, *, device: str, data_digest: str, started_by: str) -> dict[str, Any]:
    """What provenance.json and each result file say of a run."""
    return {
        "run": config.name,
        "config": config.as_suite(),
        "config_digest": config.digest,
        "data_digest": data_digest,
        **measurement(config, suite, device=device, started_by=started_by),
    }


def as_json(description: dict[str, Any]) -> str:
    return json.dumps(description, indent=1, sort_keys=True) + "\n"
