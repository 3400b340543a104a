"""Where a number comes from: commit, versions, machine, and the command that makes it again. Imports no torch."""

import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import bench
from bench.config import RunConfig, Suite

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


@functools.cache
def processor() -> str:
    """The CPU's own name, and how many of its threads this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name} ({cores} threads)"


def command(config: RunConfig) -> str:
    """The command that trains and measures this run again: every setting that differs from the suite's own defaults."""
    words = ["bench", "run", config.method, "--dataset", config.dataset, "--net", config.net]
    words += ["--epochs", f"{config.epochs:g}", "--seed", str(config.seed)]
    defaults = Suite()
    for key, value in config.train.model_dump().items():
        if value != getattr(defaults.train, key):
            words += ["--set", f"train.{key}={_toml(value)}"]
    for key, value in config.hyperparameters.items():
        words += ["--set", f"methods.{config.method}.{key}={_toml(value)}"]
    for key, value in config.dataset_options.items():
        words += ["--set", f"datasets.{config.dataset}.{key}={_toml(value)}"]
    return shlex.join(words)


def _toml(value: Any) -> str:
    import tomli_w

    return tomli_w.dumps({"x": value}, multiline_strings=False).strip().partition(" = ")[2].replace("\n", " ")


def describe(config: RunConfig, *, device: str, data_digest: str, started_by: str) -> dict[str, Any]:
    """What provenance.json and each result file say of a run."""
    sha, dirty = commit()
    return {
        "run": config.name,
        "config": config.as_suite(),
        "config_digest": config.digest,
        "command": command(config),
        "started_by": started_by,  # the command line as it was typed
        "started_at": now(),
        "commit": sha,
        "dirty": dirty,
        "versions": versions(),
        "device": device,
        "processor": processor(),
        "platform": platform.platform(),
        "data_digest": data_digest,
    }
