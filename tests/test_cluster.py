"""Runs as jobs: the grid, the record of submissions, what is refused; with submitit's local executor where something runs."""

import itertools
import json
import os
import signal
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import cluster, cluster_job, cluster_queue, cluster_submit, config
from bench.cluster_job import END
from bench.cluster_queue import Place
from bench.errors import BenchError
from bench.sections import Cluster
from bench.store import Root, write_atomic
from cluster_runs import LONG, Grid, processes_of, wait_for
from command_line import bench, mistake

# submitit means its local jobs to outlive the process that started them.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
LINUX = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes by Linux's /proc")


# The grid


def test_the_grid_is_methods_by_nets_by_seeds(tmp_path: Path) -> None:
    grid = Grid(tmp_path, 1, "soflow", "flow_matching", "--net", "N/4, N/8", "--seeds", "2", "--dry-run")
    names = [line.removeprefix("would submit ").rsplit("-", 1)[0] for line in grid.submit("local").splitlines()]
    expected = itertools.product((0, 1), ("N-4", "N-8"), ("soflow", "flow_matching"))
    assert names == [f"digits-{method}-{net}-s{seed}" for seed, net, method in expected]
    assert not grid.root.path.exists()
    assert grid.run("--dry-run").stdout.count("would run") == 8, "the same grid here, one after the other"


def test_nets_are_listed_in_the_file_too(tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text('[run]\nmethods = ["soflow"]\nnet = ["N/4", "N/8"]\n')
    assert [run.net for run in config.load(file, {}).runs()] == ["N/4", "N/8"]


def test_a_job_reads_settings_that_make_its_run_and_measure_it_alike(tmp_path: Path) -> None:
    grid = Grid(tmp_path, 1)
    suite = config.load(grid.file, {}, ("extractors.inception.weights=elsewhere", "loop.save_seconds=7.0"))
    (run,) = suite.runs()
    text, digest = cluster.settings_of(run, suite)
    (tmp_path / "copy.toml").write_text(text)
    copy = config.load(tmp_path / "copy.toml", {})
    assert [r.name for r in copy.runs()] == [run.name]
    assert (copy.eval, copy.speed, copy.loop, copy.extractors) == (suite.eval, suite.speed, suite.loop, suite.extractors)
    for setting, moves in (("eval.samples=25", True), ("loop.save_seconds=9.0", False), ("cluster.partition=p", False)):
        other = config.load(grid.file, {}, ("extractors.inception.weights=elsewhere", setting))
        assert (cluster.settings_of(run, other)[1] != digest) is moves, setting


# What submitit is told


def test_a_job_asks_for_what_the_table_says() -> None:
    asked = Cluster(
        partition="gpu", account="us", nodes=2, gpus_per_node=4, cpus_per_task=8, memory_gb=64, time_minutes=90,
        signal_delay_seconds=60, setup=("module load cuda",), extra={"qos": "long"},
    )  # fmt: skip
    assert cluster_submit.parameters("name", asked, "slurm") == {
        "name": "name", "stderr_to_stdout": True, "nodes": 2, "gpus_per_node": 4, "tasks_per_node": 4, "timeout_min": 90,
        "cpus_per_task": 8, "mem_gb": 64, "slurm_partition": "gpu", "slurm_account": "us", "slurm_signal_delay_s": 60,
        "slurm_setup": ["module load cuda"], "slurm_additional_parameters": {"requeue": True, "qos": "long"},
        "slurm_srun_args": ["--kill-on-bad-exit=0", "--wait=300", "--cpus-per-task=8"],
    }  # fmt: skip
    left_open = cluster_submit.parameters("name", Cluster(gpus_per_node=0), "slurm")
    assert left_open["tasks_per_node"] == 1
    for key in ("gpus_per_node", "cpus_per_task", "mem_gb", "slurm_partition", "slurm_account", "slurm_setup"):
        assert left_open[key] is None, "submitit leaves it out"


def test_a_job_submitted_from_within_a_job_does_not_inherit_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_CONF", "SBATCH_ACCOUNT", "WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    with cluster_submit.outside_of_jobs():
        assert not {"SLURM_JOB_ID", "WORLD_SIZE"} & os.environ.keys()
        assert {"SLURM_CONF", "SBATCH_ACCOUNT"} <= os.environ.keys()
    assert {"SLURM_JOB_ID", "WORLD_SIZE"} <= os.environ.keys()


# Mistakes


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--launcher", "slrum"], "Unknown launcher 'slrum' (did you mean 'slurm'?)"),
        (["--launcher", "local", "--gpus", "2"], "--gpus 2 with --launcher local"),
        (["--launcher", "local", "--set", "cluster.nodes=2"], "cluster.nodes = 2"),
        (["--launcher", "local", "--set", "cluster.time_minutes=1", "--set", "cluster.signal_delay_seconds=60"], "60 of 1 min"),
        (["--launcher", "local", "--set", "cluster.signal_delay_seconds=3"], "cluster.signal_delay_seconds = 3"),
        (["--launcher", "local", "--set", "cluster.patition=x"], "did you mean 'partition'?"),
        (["--launcher", "local", "--net", "N/4,Q/2"], "Unknown net 'Q/2'"),
        (["--launcher", "local", "--set", "cluster.processes_per_node=99"], "32 rows on 99 processes"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_submitted(words: list[str], given: str, tmp_path: Path) -> None:
    grid = Grid(tmp_path, 1)
    assert given in mistake(grid.run(*words))
    assert not grid.root.jobs.exists()


def test_without_slurm_the_other_launcher_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = mistake(Grid(tmp_path, 1).run("--launcher", "slurm"))
    assert "this machine has no Slurm" in message
    assert "--launcher local" in message


# What has become of them


def submission(root: Root, run: str, launcher: str = "slurm", **more: str) -> None:
    record = {"launcher": launcher, "job": "7", "host": "elsewhere", "settings": "s", "submitted_at": "2026-11-21"} | more
    write_atomic(root.jobs / run / "submission.json", json.dumps(record))


def fake(folder: Path, name: str, script: str) -> None:
    """A command of Slurm."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    fake(folder, "sacct", "exit 1")
    return folder


def states(root: Root) -> dict[str, tuple[str, str]]:
    return {line.run: (line.state, line.reason) for line in cluster.survey(root)}


def test_the_queue_the_job_and_the_run_together_say_what_has_become_of_it(tmp_path: Path, commands: Path) -> None:
    root = Root(tmp_path)
    queue = {"1": "PENDING|Priority", "2": "RUNNING|None", "3": "COMPLETING|None", "4": "CANCELLED|None", "5": "PENDING|None"}
    listed = "\\n".join(f"{job}|{rest}" for job, rest in queue.items())
    fake(commands, "squeue", f'echo "$@" >> {tmp_path}/asked; printf "{listed}\\n"')
    for job in range(1, 10):
        submission(root, f"run{job}", job=str(job))
    for job, code, reason in ((5, 130, "stopped"), (6, 0, ""), (7, 1, "process 0 ended with 1"), (8, 130, "stopped")):
        write_atomic(root.jobs / f"run{job}" / END, json.dumps({"job": str(job), "code": code, "reason": reason}))
    root.run("run7").write_status("failed", images=3, total=9, reason="the loss stopped being finite")
    assert states(root) == {
        "run1": ("queued", "Priority"),
        "run2": ("running", ""),
        "run3": ("running", ""),
        "run4": ("lost", "the job is gone without an end (CANCELLED)"),
        "run5": ("queued", ""),  # after SIGTERM alone Slurm itself requeued it
        "run6": ("done", ""),
        "run7": ("failed", "the loss stopped being finite"),
        "run8": ("stopped", "stopped"),
        "run9": ("lost", "the job is gone without an end"),
    }
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert "--jobs=1,2,3,4,5,8,9" in asked, "one call, and not about what has ended for good"


def test_a_queue_that_does_not_answer_makes_nothing_lost(tmp_path: Path, commands: Path) -> None:
    root = Root(tmp_path)
    submission(root, "run1")
    fake(commands, "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    state, reason = states(root)["run1"]
    assert (state, "Unable to contact" in reason) == ("unknown", True)
    fake(commands, "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert states(root)["run1"][0] == "lost"
    fake(commands, "sacct", "echo 'JobID|State|NodeList'; echo '7|OUT_OF_MEMORY|n1'")
    assert "OUT_OF_MEMORY" in states(root)["run1"][1]


def test_a_local_job_of_another_machine_is_not_judged_here(tmp_path: Path) -> None:
    submission(Root(tmp_path), "run1", launcher="local")
    assert states(Root(tmp_path))["run1"] == ("unknown", "it was started on elsewhere: ask there")


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    write_atomic(Root(tmp_path).jobs / "run1" / "submission.json", '{"job": "1"}')
    assert "lacks 'launcher'" in mistake(bench("status", "--root", str(tmp_path)))


def test_what_need_not_be_submitted() -> None:
    def line(state: str) -> cluster.Line:
        return cluster.Line("run", state, "1", "slurm", 0, 0, "", "", "")

    for state, same, again, needed in [
        ("queued", True, True, False), ("running", False, False, False), ("unknown", True, False, False),
        ("done", True, False, False), ("done", False, False, True), ("done", True, True, True),
        ("failed", True, False, True), ("lost", True, False, True), ("stopped", True, False, True),
    ]:  # fmt: skip
        assert (cluster.unnecessary(line(state), same, again) is None) is needed, (state, same, again)


def test_the_table_fits_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Root(tmp_path)
    assert "Nothing was submitted" in bench("status", "--root", str(tmp_path)).stdout
    assert "Example: bench status" in bench("status", "--help").output
    names = [f"imagenet_latents-flow_matching-XL-2-s{seed}-1a2b3c4d" for seed in range(3)]
    for name in names:
        submission(root, name, job="12345678")
        root.run(name).write_status("running", images=1, total=3)
    found = {names[0]: Place("running"), names[1]: Place("queued", "Priority"), names[2]: Place("gone")}
    monkeypatch.setattr(cluster_queue, "places", lambda _: found)
    text = bench("status", "--root", str(tmp_path)).stdout
    table = text.split("1 running, 1 queued, 1 lost")[0]
    assert all(len(line) <= 80 for line in table.splitlines())
    assert [line.split()[1:] for line in table.splitlines()[1:]] == [
        ["running", "12345678", "33%"], ["queued", "12345678", "33%"], ["lost", "12345678", "33%"],
    ]  # fmt: skip
    assert "…" not in text


# Inside a job


def job_of(**facts: Any) -> SimpleNamespace:
    return SimpleNamespace(**({"num_tasks": 1, "global_rank": 0, "local_rank": 0, "hostnames": ["n1"], "job_id": "7"} | facts))


def test_processes_find_each_other_by_slurms_own_address(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(commands, "scontrol", 'test "$4" = n1 && echo "NodeName=n1 NodeAddr=127.0.0.1 NodeHostName=vm"')
    monkeypatch.setenv("WORLD_SIZE", "9")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.delenv("OMP_NUM_THREADS")
    found = [cluster_job.environment(job_of(num_tasks=4, global_rank=r, local_rank=r % 2)) for r in range(4)]
    assert [(f["RANK"], f["WORLD_SIZE"], f["LOCAL_RANK"]) for f in found] == [(str(r), "4", str(r % 2)) for r in range(4)]
    assert {f["MASTER_ADDR"] for f in found} == {"127.0.0.1"}
    assert len({f["MASTER_PORT"] for f in found}) == 1
    assert {f["OMP_NUM_THREADS"] for f in found} == {"3"}
    assert "WORLD_SIZE" not in cluster_job.environment(job_of()), "alone there is nobody to find"
    with pytest.raises(BenchError, match="No address for node no-such-node"):
        cluster_job.address_of("no-such-node")


def test_a_port_is_a_jobs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_job.port_of("12") == cluster_job.port_of("12") != cluster_job.port_of("13")
    assert all(cluster_job.port_of(str(n)) in cluster_job.PORTS for n in (1, 10**6, 12345678901))
    before = cluster_job.port_of("12")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert cluster_job.port_of("12") != before


# On this machine


@LINUX
def test_local_jobs_go_one_after_the_other_and_are_not_submitted_twice(tmp_path: Path) -> None:
    grid = Grid(tmp_path, 0.2, "--net", "N/4,N/8")
    assert grid.submit("local").count("submitted as job") == 2
    assert grid.submit("local").count("already, job") == 2
    seen = set()

    def finished() -> bool:
        found = sorted(line["state"] for line in grid.status())
        seen.add(tuple(found))
        return found == ["done", "done"]

    wait_for(finished, 120, grid.explain)
    assert ("running", "running") not in seen
    assert len(list(grid.root.results.glob("*.parquet"))) == 2
    assert grid.submit("local").count("done already") == 2


@LINUX
def test_a_local_job_that_is_told_to_stop_saves_and_one_that_is_killed_is_lost(tmp_path: Path) -> None:
    grid = Grid(tmp_path, 20 * LONG)
    grid.submit("local")
    grid.wait_for_training()
    (task,) = [process for process in processes_of(grid.root.jobs) if "core._submit" in command_of(process)]
    os.kill(task, signal.SIGUSR2)
    wait_for(lambda: grid.run_log().count("training from") == 2, 60, grid.explain)
    assert "Requeued job" in grid.log()
    resumed = grid.wait_for_training()
    os.kill(int(grid.line()["job"]), signal.SIGTERM)
    assert grid.wait_for_state("stopped")["images"] >= resumed
    assert "submitted as job" in grid.submit("local")
    grid.wait_for_training()
    starts = [line for line in grid.run_log().splitlines() if "training from" in line]
    assert [("from 0 images" in line) for line in starts] == [True, False, False]
    for process in processes_of(grid.root.jobs):
        os.kill(process, signal.SIGKILL)
    assert grid.wait_for_state("lost")["reason"] == "the job is gone without an end"
    grid.root.run(grid.line()["run"]).config.write_text("[run]\n")
    assert "submitted as job" in grid.submit("local")
    line = grid.wait_for_state("failed")
    assert "ended with 2" in line["reason"]
    assert "is not what this run's settings resolve to" in " ".join(Path(line["log"]).read_text().split())
    assert line["log"] in bench("status", "--root", str(grid.root.path)).stdout.replace("\n", "")


def command_of(process: int) -> str:
    return (Path("/proc") / str(process) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
