"""`bench run` in several processes: the same run as in one, its output once, and an end with a reason whatever happens."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from bench import checkpoint, pipeline
from bench.config import Suite, load
from bench.launch import without_gpus
from bench.store import Root, RunDirectory
from command_line import bench, mistake

SETTINGS = """
[run]
methods = ["soflow"]
net = "N/4"
epochs = {epochs}
[train]
batch = 36
[loop]
device = "cpu"
save_seconds = 0.2
log_images = 360
[eval]
samples = 51
steps = [1, 2]
seeds = 1
[speed]
seconds = 0.01
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "bench"]
GPUS = [sys.executable, "-m", "bench"]


@pytest.fixture(scope="module")
def toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "tiny.toml"
    path.write_text(SETTINGS.format(epochs=1))
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "long.toml"
    path.write_text(SETTINGS.format(epochs=1000))
    return path


@pytest.fixture(scope="module")
def alone(toml: Path, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """The run in this process."""
    root = Root(tmp_path_factory.mktemp("alone"))
    run_here(load(toml, {}), root)
    return root


def run_here(suite: Suite, root: Root) -> None:
    dataset = pipeline.load_dataset(suite)
    for config in suite.runs():
        pipeline.run_one(pipeline.Job(config=config, suite=suite, root=root, dataset=dataset), pipeline.Stages())


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "80", "NO_COLOR": "1"}


def run_there(words: list[str], *more: object) -> subprocess.CompletedProcess[str]:
    command = [*words, "run", *map(str, more)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, check=False)


def only_run(root: Root) -> RunDirectory:
    (run,) = root.run_directories()
    return run


def results(root: Root) -> pd.DataFrame:
    frame = pd.concat(pd.read_parquet(path) for path in sorted(root.results.glob("*.parquet")))
    return frame[frame["sample_seed"].notna()].set_index(["metric", "steps"]).sort_index()


@pytest.fixture(scope="module")
def torchrun(toml: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Root, subprocess.CompletedProcess[str]]:
    root = Root(tmp_path_factory.mktemp("torchrun"))
    return root, run_there(TORCHRUN, "--config", toml, "--root", root.path, "--set", "loop.micro_batch=8")


def test_two_processes_train_the_run_of_one(alone: Root, torchrun: tuple[Root, subprocess.CompletedProcess[str]]) -> None:
    root, done = torchrun
    assert done.returncode == 0, done.stderr
    ours, theirs = only_run(alone), only_run(root)
    assert ours.name == theirs.name
    lines, others = ours.read_train_log(), theirs.read_train_log()
    assert [line["images"] for line in lines] == [line["images"] for line in others]
    for line, other in zip(lines, others, strict=True):
        for key in ("loss", "mse", "velocity_mse", "jump_mse", "grad_norm", "learning_rate"):
            assert other[key] == pytest.approx(line[key], rel=1e-4), key
    weights = [checkpoint.load_snapshot(run.newest_snapshot()).weights for run in (ours, theirs)]  # type: ignore[arg-type]
    for name, value in weights[0].items():
        assert float((value - weights[1][name]).abs().max()) < 1e-4, name
    assert [run.read_status()["world_size"] for run in (ours, theirs)] == [1, 2]


def test_two_processes_score_the_samples_of_one(alone: Root, torchrun: tuple[Root, subprocess.CompletedProcess[str]]) -> None:
    one, two = results(alone), results(torchrun[0])
    assert list(one.index) == list(two.index)
    assert set(two["world_size"]) == {2}
    distance = ("frechet_distance", 1.0)
    assert float(two.loc[distance, "value"]) == pytest.approx(float(one.loc[distance, "value"]), rel=1e-3)
    everything = pd.concat(pd.read_parquet(path) for path in torchrun[0].results.glob("*.parquet"))
    (seconds,) = everything[everything["metric"] == "train_seconds"].to_dict("records")
    assert (seconds["world_size"], seconds["protocol"]) == (2, "training-time-2-processes")


def test_everything_is_said_once(torchrun: tuple[Root, subprocess.CompletedProcess[str]]) -> None:
    _, done = torchrun
    assert done.stderr.count("1 run on") == 1
    assert done.stderr.count("  training: ") == 1
    assert done.stdout.count("Fréchet distance ↓") == 1


def test_two_nodes_find_each_other(alone: Root, toml: Path, tmp_path: Path) -> None:
    """Two of torch's launchers with a process each, as on two machines; scored by `bench eval --gpus` afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    nodes = []
    for node in (0, 1):
        where = ["--nnodes", "2", "--node-rank", str(node), "--master-addr", "127.0.0.1", "--master-port", str(port)]
        command = [sys.executable, "-m", "torch.distributed.run", *where, "--nproc-per-node", "1", "-m", "bench"]
        command += ["train", "--config", str(toml), "--root", str(tmp_path)]
        nodes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()))
    said = [node.communicate(timeout=300)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    ours, theirs = only_run(alone).read_train_log()[-1], only_run(Root(tmp_path)).read_train_log()[-1]
    assert theirs["grad_norm"] == pytest.approx(ours["grad_norm"], rel=1e-4)
    more = ["--gpus", "2", "--config", str(toml), "--root", str(tmp_path)]
    done = subprocess.run([*GPUS, "eval", *more], capture_output=True, text=True, env=environment(), timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert set(results(Root(tmp_path))["world_size"]) == {2}


# Ends


@contextlib.contextmanager
def at_work(words: list[str], root: Root, *more: object) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The command, once it has saved a state; and its processes that train."""
    command = [*words, "run", "--root", str(root.path), *map(str, more)]
    before = set(root.path.rglob("*.safetensors"))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            deadline = time.monotonic() + 200
            while not set(root.path.rglob("*.safetensors")) - before:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield process, children(process.pid)
        finally:
            for pid in (*children(process.pid), process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc here to find the processes in")


@needs_proc
def test_a_killed_process_ends_the_run_and_another_number_of_processes_goes_on(long: Path, tmp_path: Path) -> None:
    root = Root(tmp_path)
    with at_work([*GPUS], root, "--config", long, "--gpus", 2) as (process, workers):
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "process 0 of 2 lost another one" in said
    assert "process 1 of 2 was ended by signal 9" in said
    assert "Traceback" not in said
    run = only_run(root)
    assert run.read_status()["state"] == "failed"
    (row,) = pd.read_parquet(root.result_file(run.name)).to_dict("records")
    assert (row["status"], row["metric"]) == ("failed", "training")
    newest = int(checkpoint.state_files(run.state)[0].stem)

    with at_work([*GPUS], root, "--config", long, "--gpus", 3) as (process, workers):
        assert len(workers) == 3
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.count("the same command goes on from there") == 1
    status = run.read_status()
    assert status["state"] == "stopped"
    assert status["images"] == int(checkpoint.state_files(run.state)[0].stem) > newest
    lines = [line["images"] for line in run.read_train_log()]
    assert lines == sorted(set(lines)), "nothing twice, nothing lost"

    with at_work([*GPUS], root, "--config", long) as (process, _):
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    assert f"training from {status['images']:,} images\n" in run.text_log.read_text()


def test_a_mistake_is_told_once_and_by_all_it_concerns(toml: Path, tmp_path: Path) -> None:
    done = run_there([*GPUS], "--config", toml, "--root", tmp_path, "--gpus", 2, "--set", "eval.metrics=['recal']")
    assert done.returncode == 2
    assert done.stderr.count("Allowed: ") == 1
    assert "'recal'" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_words_of_the_command_line(toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert without_gpus(["run", "--gpus", "2", "soflow", "--gpus=3", "--seed", "1"]) == ["run", "soflow", "--seed", "1"]
    assert "inside a process that torchrun" in (monkeypatch.setenv("WORLD_SIZE", "2") or mistake(bench("run", "--gpus", "2")))
    for value, text in (("two", "WORLD_SIZE = 'two'"), ("2", "WORLD_SIZE without RANK")):
        monkeypatch.setenv("WORLD_SIZE", value)
        assert text in mistake(bench("run", "--config", str(toml), "--root", str(tmp_path)))
    assert "bench speed in 2 processes" in mistake(bench("speed", "--config", str(toml)))
