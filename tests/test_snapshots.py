"""Snapshots on the way: where they lie, and the same set whatever interrupts training."""

import json
import multiprocessing
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import checkpoint, datasets, pipeline, snapshots, train
from bench.config import Loop
from bench.errors import BenchError, Interrupted, NotFinite
from bench.store import Root, RunDirectory
from conftest import one_run, tiny_run, tiny_suite
from short_trainings import SEEN, TRAIN_ONLY, assert_same_bits, of_run, stop_at, weights

FOUR = Loop(device="cpu", save_seconds=1e9, log_images=320, snapshots=4)


def files(run: RunDirectory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(run.snapshots.glob("*.safetensors"))}


def same_but_time(run: RunDirectory) -> None:
    """Every snapshot has its time, and the times rise."""
    seconds = [spent["seconds"] for _, spent in sorted(snapshots.costs(run).items())]
    assert len(seconds) == len(files(run))
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


# Where


@pytest.mark.parametrize(("batch", "batches"), [(32, 57), (36, 50), (7, 1), (128, 14)])
def test_they_are_evenly_spaced_and_the_last_is_the_end(batch: int, batches: int) -> None:
    total = batch * batches
    for count in (1, 2, 3, 4, 10, 50, 57, 1000):
        found = [images for images in range(batch, total + 1, batch) if snapshots.due(images, batch, total, count)]
        wanted = {batch * -(-k * batches // count) for k in range(1, count)} - {total}
        assert found == sorted(wanted)
        assert len(found) == min(count, batches) - 1


def test_the_number_is_checked() -> None:
    with pytest.raises(BenchError, match=r"loop\.snapshots = 0"):
        tiny_suite("loop.snapshots=0")


def test_each_is_the_average_at_that_moment(tmp_path: Path, digits: Any, monkeypatch: Any) -> None:
    run, kept = RunDirectory(tmp_path / "run"), {}
    whole = train.Step.__call__

    def keep(self: train.Step, *given: Any) -> Any:
        out = whole(self, *given)
        kept[given[-1]] = {name: value.clone() for name, value in self.ema.state_dict().items()}
        return out

    monkeypatch.setattr(train.Step, "__call__", keep)
    train.train(tiny_run(), digits, run, FOUR)
    assert snapshots.images_seen(run) == SEEN
    for images in SEEN:
        stored = checkpoint.load_snapshot(run.snapshot(images))
        assert stored.images == images
        assert_same_bits(stored.weights, kept[images])


def test_they_change_neither_the_run_nor_its_name(tmp_path: Path, digits: Any) -> None:
    plain, four = RunDirectory(tmp_path / "plain"), RunDirectory(tmp_path / "four")
    config = tiny_run()
    assert tiny_run("loop.snapshots=4").name == config.name
    train.train(config, digits, plain, Loop(device="cpu", save_seconds=1e9, log_images=320))
    train.train(config, digits, four, FOUR)
    assert_same_bits(weights(plain), weights(four))
    assert snapshots.images_seen(plain) == [1824]
    assert snapshots.costs(plain)[1824]["seconds"] == plain.read_status()["seconds"]


def test_the_end_of_training_and_its_snapshot_have_one_time(tmp_path: Path, digits: Any) -> None:
    run = RunDirectory(tmp_path / "run")
    train.train(tiny_run(), digits, run, FOUR)
    status = run.read_status()
    assert json.loads(snapshots.cost_file(run, 1824).read_text()) == {
        key: status[key] for key in ("seconds", "device", "world_size")
    }
    same_but_time(run)


# Whatever interrupts


def test_a_stopped_training_leaves_the_same_files(tmp_path: Path, digits: Any) -> None:
    config = tiny_run()
    whole, stopped = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "stopped")
    train.train(config, digits, whole, FOUR)
    for images in (448, 480, 512, 928, 1792):  # before, at and after one; at one; a batch before the end
        with pytest.raises(Interrupted):
            train.train(config, digits, stopped, FOUR, watch=stop_at(images))
        assert snapshots.images_seen(stopped) == [seen for seen in SEEN if seen <= images]
    train.train(config, digits, stopped, FOUR)
    assert files(whole) == files(stopped)
    same_but_time(stopped)


def test_of_what_a_crash_undid_the_second_time_counts(tmp_path: Path, digits: Any) -> None:
    """As the run's own time: a snapshot past the last state is written again, with the time of that training."""
    config, run = tiny_run(), RunDirectory(tmp_path / "run")
    with pytest.raises(Interrupted):
        train.train(config, digits, run, FOUR, watch=stop_at(512))
    run.snapshot(928).write_bytes(run.snapshot(480).read_bytes())
    snapshots.cost_file(run, 928).write_text('{"seconds": 1e9, "device": "", "world_size": 1}')
    train.train(config, digits, run, FOUR)
    assert checkpoint.load_snapshot(run.snapshot(928)).images == 928
    same_but_time(run)


def train_in_child(root: Path, started: Any) -> None:
    torch.set_num_threads(1)
    suite = tiny_suite("run.epochs=2", "loop.snapshots=40", "loop.save_seconds=0.05")
    job = pipeline.Job(
        config=suite.runs()[0], suite=suite, root=Root(root), dataset=datasets.load("digits"),
        hooks=pipeline.Hooks(watch=lambda *_: started.set()),
    )  # fmt: skip
    pipeline.run_one(job, TRAIN_ONLY)


def test_a_killed_training_leaves_the_same_files(tmp_path: Path) -> None:
    """Killed where a snapshot may be half written, or written and no state after it: it is written again, the same."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.pipeline", "sklearn.datasets"])
    moments = random.Random(1)
    for root, kills in (("killed", 4), ("whole", 0)):
        for turn in range(kills + 1):
            started = context.Event()
            child = context.Process(target=train_in_child, args=(tmp_path / root, started))
            child.start()
            if turn < kills:
                assert started.wait(120)
                time.sleep(moments.uniform(0, 0.1))
                child.kill()
            child.join(240)
    name = tiny_run("run.epochs=2").name
    killed, whole = (Root(tmp_path / root).run(name) for root in ("killed", "whole"))
    assert len(files(whole)) == 40
    assert files(killed) == files(whole)
    same_but_time(killed)


def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path, digits: Any, monkeypatch: Any) -> None:
    run, whole = RunDirectory(tmp_path / "run"), train.Step.__call__

    def diverge(self: train.Step, *given: Any) -> Any:
        out, norm = whole(self, *given)
        return (out, norm) if given[-1] < 900 else (out, norm * float("nan"))

    monkeypatch.setattr(train.Step, "__call__", diverge)
    with pytest.raises(NotFinite, match="before 928 images"):
        train.train(tiny_run(), digits, run, Loop(device="cpu", save_seconds=1e9, log_images=10**6, snapshots=4))
    assert snapshots.images_seen(run) == [480]


def test_two_processes_write_those_of_one(tmp_path: Path, digits: Any) -> None:
    """The first writes; then each scores its share of every snapshot's samples."""
    settings = ["run.net=N/4", "run.epochs=0.3", "train.batch=32", "loop.snapshots=3", "eval.samples=50", "eval.seeds=1"]
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "bench", "run", "soflow", "--gpus", "2", "--device", "cpu", "--steps", "1", *words]
    command += ["--set", "speed.seconds=0.01", "--root", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    one_run(tiny_suite(*settings), tmp_path / "one", digits, TRAIN_ONLY)
    (ours,), (theirs,) = (Root(tmp_path / root).run_directories() for root in ("one", "two"))
    assert snapshots.images_seen(ours) == snapshots.images_seen(theirs) == [192, 384, 544]
    for images in (192, 384, 544):
        a, b = (checkpoint.load_snapshot(run.snapshot(images)).weights for run in (ours, theirs))
        assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-4
    frame = of_run(Root(tmp_path / "two"))
    assert sorted(frame[frame["metric"] == "frechet_distance"]["images"]) == [192, 384, 544]
    times = frame[frame["metric"] == "train_seconds"]
    assert times[["images", "world_size"]].values.tolist() == [[192, 2], [384, 2], [544, 2]]
