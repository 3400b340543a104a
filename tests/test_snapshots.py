"""Snapshots on the way: where they lie, the same set whatever interrupts training, scored each, and out of the tables' way."""

import json
import multiprocessing
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bench import checkpoint, datasets, evaluate, explain, pipeline, provenance, rows, snapshots, train
from bench.config import Loop
from bench.errors import BenchError, Interrupted, NotFinite, RunFailed
from bench.store import Root, RunDirectory
from command_line import bench, mistake
from conftest import one_run, tiny_run, tiny_suite
from reports import tables
from reports.lines import records
from test_train import TRAIN_ONLY, assert_same_bits, stop_at, weights

FOUR = Loop(device="cpu", save_seconds=1e9, log_images=320, snapshots=4)
SEEN = [480, 928, 1376, 1824]  # of 57 batches of 32: the first at or after 456, 912, 1368, 1824


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


# Scored, each


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, digits: Any) -> tuple[Root, Any]:
    """One run with four snapshots, scored and timed. Read only."""
    root = tmp_path_factory.mktemp("measured")
    suite = tiny_suite("loop.snapshots=4", "loop.log_images=320")
    one_run(suite, root, digits)
    return Root(root), suite


def of_run(root: Root) -> pd.DataFrame:
    return rows.read(root.results)[0]


def test_every_snapshot_has_its_scores_and_its_time(measured: tuple[Root, Any]) -> None:
    frame = of_run(measured[0])
    for steps in (1, 2):
        of_steps = frame[(frame["metric"] == "frechet_distance") & (frame["steps"] == steps)]
        assert sorted(of_steps["images"]) == SEEN
        assert of_steps["value"].nunique() == 4
    times = frame[frame["metric"] == "train_seconds"].sort_values("images")
    (run,) = measured[0].run_directories()
    assert times["images"].tolist() == SEEN
    assert times["value"].tolist() == [spent["seconds"] for _, spent in sorted(snapshots.costs(run).items())]
    assert times["value"].iloc[-1] == run.read_status()["seconds"]
    assert frame[frame["metric"] == "train_peak_bytes"]["images"].tolist() == [1824]


def test_tables_show_the_newest_alone(measured: tuple[Root, Any], tmp_path: Path, digits: Any) -> None:
    """The same tables as of a run without any on the way; only what is timed differs."""
    root, suite = measured
    one_run(tiny_suite("loop.log_images=320"), tmp_path, digits)
    four, one = (tables.quality(*rows.read(place.results)) for place in (root, Root(tmp_path)))
    assert [[cell.text for cell in line.cells] for line in four[0].lines] == [
        [cell.text for cell in line.cells] for line in one[0].lines
    ]
    assert [t.note for t in four] == [t.note for t in one]
    [cost] = tables.cost(*rows.read(root.results))
    (time_of,) = [line.cells[i] for line in cost.lines for i in cost.column_indices("train_seconds")]
    assert time_of.values == (root.run(suite.runs()[0].name).read_status()["seconds"],)
    grids = root.run(suite.runs()[0].name).samples
    ours = Root(tmp_path).run(suite.runs()[0].name).samples
    assert {p.name: p.read_bytes() for p in grids.iterdir()} == {p.name: p.read_bytes() for p in ours.iterdir()}


def test_the_same_command_again_measures_nothing(measured: tuple[Root, Any], digits: Any) -> None:
    root, suite = measured
    before, said = of_run(root), []
    one_run(suite, root.path, digits, say=said.append)
    pd.testing.assert_frame_equal(of_run(root), before)
    assert sum("scored already" in line for line in said) == 4
    assert sum("after 480 images" in line for line in said) == 1


def test_what_one_lacks_is_scored_alone(measured: tuple[Root, Any], tmp_path: Path, digits: Any) -> None:
    """An evaluation that ended after the first of them goes on with the others."""
    root, suite = measured
    name = suite.runs()[0].name
    frame, description = rows.read_file(root.result_file(name))
    kept = [row for row in records(frame) if row.images in (480, 1824) or row.metric == "train_seconds"]
    rows.write(Root(tmp_path).result_file(name), kept, description)
    (tmp_path / "runs").symlink_to(root.runs, target_is_directory=True)
    one_run(suite, tmp_path, digits, pipeline.Stages(train=False, speed=False))
    again = rows.read(tmp_path / "results")[0]
    old, new = (f.set_index(["images", "metric", "steps"]).sort_index() for f in (frame, again))
    pd.testing.assert_series_equal(old["value"], new["value"])
    times = new["started_at"].groupby("images").nunique()
    assert set(times.index) == set(SEEN)


def test_one_that_can_not_be_scored_does_not_hold_up_the_others(tmp_path: Path, digits: Any, monkeypatch: Any) -> None:
    suite, whole, order = tiny_suite("loop.snapshots=4"), evaluate.score, []

    def broken(model: Any, *given: Any) -> Any:
        order.append(model.images)
        if model.images == 928:
            raise NotFinite("images 0 to 63 at 1 step are not finite")
        return whole(model, *given)

    monkeypatch.setattr(evaluate, "score", broken)
    with pytest.raises(RunFailed, match="are not finite"):
        one_run(suite, tmp_path, digits, pipeline.Stages(speed=False))
    frame = of_run(Root(tmp_path))
    ok = frame[(frame["metric"] == "frechet_distance") & (frame["status"] == "ok")]
    assert sorted(set(ok["images"])) == [480, 1376, 1824]
    assert set(frame[frame["status"] == "failed"]["images"]) >= {928}
    assert list(dict.fromkeys(order)) == [1824, *SEEN[:3]], "the one that the tables show is scored first"


def test_a_run_from_before_stays_valid_and_is_told(tmp_path: Path, digits: Any) -> None:
    """Without the file beside the weights, as older ones are: nothing is trained again, and its time is that of status.json."""
    one_run(tiny_suite(), tmp_path, digits, TRAIN_ONLY)
    (run,) = Root(tmp_path).run_directories()
    snapshots.cost_file(run, 1824).unlink()
    said: list[str] = []
    suite = tiny_suite("loop.snapshots=4")
    one_run(suite, tmp_path, digits, say=said.append)
    assert any("has 1 of 4 snapshots; only a new training makes the others" in line for line in said)
    frame = of_run(Root(tmp_path))
    assert frame[frame["metric"] == "train_seconds"]["value"].tolist() == [run.read_status()["seconds"]]
    checkpoint.save_snapshot(run.snapshot(480), checkpoint.load_snapshot(run.snapshot(1824)))  # of unknown time
    assert set(snapshots.costs(run)) == {1824}


# Where others look


def test_a_row_on_the_way_is_told_apart(measured: tuple[Root, Any]) -> None:
    root, suite = measured
    listed = bench("list", "rows", "--root", str(root.path)).stdout
    assert listed.count("after 480 images") == listed.count("after 928 images") > 0
    assert "after 1,824 images" not in listed
    found = explain.find(records(of_run(root)), f"{suite.runs()[0].name}:frechet_distance:1:0")
    assert found.images == 1824


def test_an_unfinished_run_is_not_sampled(tmp_path: Path, digits: Any) -> None:
    with pytest.raises(Interrupted):
        one_run(tiny_suite("loop.snapshots=4"), tmp_path, digits, TRAIN_ONLY, watch=lambda _, a, b: stop_at(512)(a, b))
    (run,) = Root(tmp_path).run_directories()
    assert snapshots.images_seen(run) == [480]
    assert "no final snapshot" in mistake(bench("sample", run.name, "--root", str(tmp_path)))


def test_the_command_makes_them_again() -> None:
    suite = tiny_suite("loop.snapshots=4")
    assert "--set loop.snapshots=4" in provenance.command(suite.runs()[0], suite)
    assert "loop.snapshots" not in provenance.command(tiny_run(), tiny_suite())


def test_the_number_is_checked() -> None:
    with pytest.raises(BenchError, match=r"loop\.snapshots = 0"):
        tiny_suite("loop.snapshots=0")
