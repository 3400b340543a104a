"""Small runs for the tests of the cluster: submitted by the command line, looked at through `bench status`."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import config
from bench.config import RunConfig
from bench.store import Root
from command_line import bench

TINY = """
[run]
methods = ["flow_matching"]
net = "N/4"
epochs = {epochs}
[train]
batch = 32
[loop]
device = "cpu"
log_images = 320
save_seconds = 0.5
[eval]
samples = 24
steps = [1]
seeds = 1
metrics = ["frechet_distance"]
[eval.extra_steps]
[speed]
seconds = 0.01
[cluster]
gpus_per_node = 0
time_minutes = 20
signal_delay_seconds = 30
"""
LONG = 20  # epochs: several seconds, to be caught in the middle


class Grid:
    """A root and a bench.toml of tiny runs."""

    def __init__(self, folder: Path, epochs: float, *words: str) -> None:
        self.root = Root(folder / "root")
        self.file = folder / "tiny.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(TINY.format(epochs=epochs))
        self.words = words

    def run(self, *words: str) -> Any:
        return bench("run", "--config", str(self.file), "--root", str(self.root.path), *self.words, *words)

    def submit(self, launcher: str, *words: str) -> str:
        result = self.run("--launcher", launcher, *words)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def configs(self) -> list[RunConfig]:
        return config.load(self.file, {}).runs()

    def status(self) -> list[dict[str, Any]]:
        result = bench("status", "--json", "--root", str(self.root.path))
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert isinstance(found, list)
        return found

    def line(self) -> dict[str, Any]:
        """Of the only submission."""
        (line,) = self.status()
        return line

    def wait_for_state(self, *states: str, seconds: float = 180) -> dict[str, Any]:
        def arrived() -> bool:
            found = self.line()["state"]
            assert found in states or found not in ("failed", "lost"), self.explain()
            return found in states

        wait_for(arrived, seconds, self.explain)
        return self.line()

    def wait_for_training(self) -> int:
        """Until a state was saved by a process that trains now; its images."""
        run = self.root.run(self.line()["run"])
        before = run.read_status()["images"]
        wait_for(lambda: run.read_status()["state"] == "running" and run.read_status()["images"] > before, 180, self.explain)
        return int(run.read_status()["images"])

    def log(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.root.jobs.glob("*/log/*_log.out")))

    def run_log(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.root.runs.glob("*/log.txt")))

    def explain(self) -> str:
        return f"{self.status()}\n{self.log()}\n{self.run_log()}"

    def weights(self) -> bytes:
        (path,) = self.root.runs.glob("*/snapshots/*.safetensors")
        return path.read_bytes()


def wait_for(condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.1)


def processes_of(folder: Path) -> list[int]:
    """The processes, of whatever kind, whose command line names the folder: the youngest first."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return sorted(found, reverse=True)
