"""Runs as jobs of a real Slurm, whose daemons start here on one machine (tests/slurm). Orders and results, never times."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.store import Root
from cluster_runs import LONG, Grid, processes_of, wait_for

HERE = Path(__file__).parent / "slurm"
SBIN = "/usr/sbin"  # Debian's place for daemons, which is not in every PATH


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def missing() -> str:
    """Why the daemons can not be started here."""
    if os.geteuid():
        return "not root: munge and Slurm's daemons want to be"
    path = f"{os.environ['PATH']}:{SBIN}"
    absent = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "srun") if not shutil.which(name, path=path)]
    return f"not installed: {', '.join(absent)} (Debian: slurm-wlm, munge)" if absent else ""


@pytest.fixture(scope="module", autouse=True)
def _slurm() -> Iterator[None]:
    """Two nodes of four processors, partitions low and high, on free ports; stopped at the end."""
    if reason := missing():
        pytest.skip(reason)
    folder = tempfile.mkdtemp(prefix="slurm-")  # not pytest's: munged wants every folder above its socket open to all
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{HERE / 'bin'}:{os.environ['PATH']}:{SBIN}")
        patch.setenv("ROOT", folder)
        patch.setenv("SLURM_CONF", f"{folder}/slurm.conf")
        for name, port in zip(("CTLPORT", "DPORT1", "DPORT2"), free_ports(3), strict=True):
            patch.setenv(name, str(port))
        try:
            started = subprocess.run(["bash", HERE / "start.sh"], capture_output=True, text=True, check=False, timeout=60)
            assert started.returncode == 0, started.stdout + started.stderr
            yield
        finally:
            subprocess.run(["bash", HERE / "stop.sh"], check=False, timeout=60)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The snapshot of the long run, trained here in one go."""
    grid = Grid(tmp_path_factory.mktemp("whole"), LONG)
    assert grid.run().exit_code == 0
    return grid.weights()


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_signal_before_a_limit_saves_requeues_and_the_weights_are_the_same(tmp_path: Path, uninterrupted: bytes) -> None:
    grid = Grid(tmp_path, LONG)
    grid.submit("slurm")
    grid.wait_for_training()
    job = grid.line()["job"]
    slurm("scancel", "--signal=USR2", job)
    wait_for(lambda: "training from" in grid.run_log().partition("training from")[2], 120, grid.explain)
    starts = [int(line.split()[-2].replace(",", "")) for line in grid.run_log().splitlines() if "training from" in line]
    assert starts[0] == 0 < starts[1], "from the state that the signal made it save"
    assert "the same command goes on from there" in grid.log(), "it ended its step and saved"
    assert "Requeued job" in grid.log()
    line = grid.wait_for_state("done")
    assert line["job"] == job
    assert grid.weights() == uninterrupted


def test_a_job_of_higher_priority_evicts_both_processes_of_a_run_and_they_go_on_after_it(tmp_path: Path) -> None:
    grid = Grid(tmp_path, LONG / 2, "--set", "cluster.nodes=2", "--set", 'cluster.partition="low"')
    grid.submit("slurm")
    grid.wait_for_training()
    marker = tmp_path / "high-ran"
    wrap = f"--wrap=grep -c 'training from' {grid.root.runs}/*/log.txt > {marker}; sleep 2"
    slurm("sbatch", "--partition=high", "--nodes=2", "--ntasks=8", "--output=/dev/null", wrap)
    wait_for(marker.exists, 120, grid.explain)
    assert grid.line()["state"] in ("queued", "running")
    grid.wait_for_state("done")
    assert marker.read_text().strip() == "1", "it ran between the two starts"
    first, second = (line for line in grid.run_log().splitlines() if "training from" in line)
    assert first.endswith("training from 0 images on 2 processes")
    assert second.endswith("images on 2 processes")
    assert "from 0 images" not in second


def test_a_job_of_two_nodes_trains_what_one_process_trains_and_is_not_submitted_twice(tmp_path: Path) -> None:
    alone = Grid(tmp_path / "one", 0.2)
    assert alone.run().exit_code == 0
    grid = Grid(tmp_path / "two", 0.2, "--set", "cluster.nodes=2")
    assert "submitted as job" in grid.submit("slurm")
    assert "already, job" in grid.submit("slurm"), "queued or running"
    job = grid.wait_for_state("done")["job"]
    assert "done already" in grid.submit("slurm")
    assert grid.line()["job"] == job
    assert len(list(grid.root.results.glob("*.parquet"))) == 1
    assert "on 2 processes" in grid.run_log()
    (ours,), (theirs,) = (list(g.root.runs.glob("*/snapshots/*.safetensors")) for g in (grid, alone))
    two, one = load_file(ours), load_file(theirs)
    assert two.keys() == one.keys()
    for name in one:
        assert torch.allclose(two[name], one[name], rtol=1e-4, atol=1e-5), name


def test_a_killed_job_is_lost_a_cancelled_one_stopped_and_one_that_slurm_requeues_goes_on(tmp_path: Path) -> None:
    grid = Grid(tmp_path, 20 * LONG)
    grid.submit("slurm")
    grid.wait_for_training()
    for process in processes_of(grid.root.jobs):
        os.kill(process, signal.SIGKILL)
    assert "gone without an end" in grid.wait_for_state("lost")["reason"]
    assert "submitted as job" in grid.submit("slurm")
    grid.wait_for_training()
    run, job = Root(grid.root.path).run(grid.line()["run"]), grid.line()["job"]
    slurm("scancel", "--signal=TERM", job)  # as a preemption begins, where no other signal is sent
    wait_for(lambda: run.read_status()["state"] == "stopped" and not run.in_use(), 60, grid.explain)
    time.sleep(5)
    assert (grid.line()["state"], grid.line()["job"]) == ("running", job), "it waits: who ended now would be a failed job"
    slurm("scontrol", "requeue", job)  # as it ends
    saved = grid.wait_for_training()
    slurm("scancel", job)
    assert grid.wait_for_state("stopped")["images"] >= saved, "SIGTERM comes first"
    starts = [line for line in grid.run_log().splitlines() if "training from" in line]
    assert ["from 0 images" in line for line in starts] == [True, False, False]


def test_what_slurm_refuses_is_told_in_its_own_words(tmp_path: Path) -> None:
    grid = Grid(tmp_path, 0.5)
    result = grid.run("--launcher", "slurm", "--set", 'cluster.partition="nowhere"')
    assert result.exit_code == 2
    assert "invalid partition" in result.stderr
    assert grid.status() == []


@pytest.mark.slow
def test_a_run_outlives_a_real_time_limit(tmp_path: Path) -> None:
    grid = Grid(tmp_path, 50 * LONG, "--set", "cluster.time_minutes=1")
    grid.submit("slurm")
    grid.wait_for_training()
    job = grid.line()["job"]
    wait_for(lambda: "Requeued job" in grid.log(), 150, grid.explain)
    wait_for(lambda: grid.run_log().count("training from") >= 2, 100, grid.explain)
    assert "this job is timed-out" in grid.log(), "Slurm's own signal, some time before the limit"
    assert grid.line()["job"] == job
    assert "training from 0 images" not in grid.run_log().splitlines()[-1]
    slurm("scancel", job)
    grid.wait_for_state("stopped")
