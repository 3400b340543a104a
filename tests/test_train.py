"""Training: resumes to the same bits, stops on signals and on what is not finite, keeps the last good state."""

import json
import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import checkpoint, datasets, pipeline, rows, sample, step, train
from bench.config import RunConfig
from bench.errors import BenchError, Interrupted, RunFailed
from bench.store import Root, RunDirectory
from conftest import one_run, scored, tiny_run, tiny_suite
from short_trainings import LOOP, TRAIN_ONLY, assert_same_bits, log_without_time, stop_at, weights


@pytest.mark.parametrize("method", ["soflow", "meanflow", "flow_matching"])
def test_a_stopped_run_ends_with_the_same_bits_and_the_same_log(tmp_path: Path, digits: Any, method: str) -> None:
    config = tiny_run(method=method)
    whole, stopped = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "stopped")
    train.train(config, digits, whole, LOOP)
    for images in (32, 480, 960):  # after the first step, between two lines of the log, and at one
        with pytest.raises(Interrupted):
            train.train(config, digits, stopped, LOOP, watch=stop_at(images))
        assert stopped.read_status() | {"updated_at": ""} == {
            "format": 1, "state": "stopped", "images": images, "total": 1824, "reason": "interrupted", "updated_at": ""
        }  # fmt: skip
        assert int(checkpoint.state_files(stopped.state)[0].stem) == images
    train.train(config, digits, stopped, LOOP)
    assert_same_bits(weights(whole), weights(stopped))
    assert log_without_time(whole) == log_without_time(stopped)


def test_scoring_and_drawing_in_between_change_nothing(tmp_path: Path, digits: Any) -> None:
    config, suite = tiny_run(), tiny_suite()
    whole, disturbed = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "disturbed")
    train.train(config, digits, whole, LOOP)
    model = sample.load_model(checkpoint.load_snapshot(whole.newest_snapshot()), torch.device("cpu"))  # type: ignore[arg-type]

    def disturb(done: int, _: int) -> None:
        torch.randn(3)  # the global generator
        if done % 640 == 0:
            scored(model, digits, suite.eval, tmp_path / "refs")

    train.train(config, digits, disturbed, LOOP, watch=disturb)
    assert_same_bits(weights(whole), weights(disturbed))


def test_seeds_give_different_runs(tmp_path: Path, digits: Any) -> None:
    one, two = RunDirectory(tmp_path / "1"), RunDirectory(tmp_path / "2")
    train.train(tiny_run("run.seed=1", "run.epochs=0.1"), digits, one, LOOP)
    train.train(tiny_run("run.seed=2", "run.epochs=0.1"), digits, two, LOOP)
    assert not torch.equal(weights(one)["final_layer.linear.weight"], weights(two)["final_layer.linear.weight"])


def test_every_step_has_draws_of_its_own(tmp_path: Path, digits: Any, monkeypatch: Any) -> None:
    whole, seen = step.Step.__call__, []

    def note(self: step.Step, x0: Tensor, label: Tensor, draw: Any, images: int) -> Any:
        seen.append((float(draw.noise.sum()), float(draw.t.sum())))
        return whole(self, x0, label, draw, images)

    monkeypatch.setattr(step.Step, "__call__", note)
    train.train(tiny_run("run.epochs=0.2"), digits, RunDirectory(tmp_path / "run"), LOOP)
    assert len(seen) > 5
    assert len({noise for noise, _ in seen}) == len({t for _, t in seen}) == len(seen)


# Killed at any moment


def train_in_child(root: Path, config: RunConfig, started: Any) -> None:
    torch.set_num_threads(1)
    suite = tiny_suite("loop.save_seconds=0.01", "loop.log_images=640")
    hooks = pipeline.Hooks(watch=lambda *_: started.set())
    job = pipeline.Job(config=config, suite=suite, root=Root(root), dataset=datasets.load("digits"), hooks=hooks)
    pipeline.run_one(job, TRAIN_ONLY)


def test_killed_twenty_times_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    config = tiny_run("run.epochs=30")  # longer than all the kills leave time for
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.pipeline", "sklearn.datasets"])
    moments = random.Random(0)
    kills, images = 0, []
    while True:
        started = context.Event()
        child = context.Process(target=train_in_child, args=(tmp_path / "killed", config, started))
        child.start()
        if kills == 20:
            child.join(240)
            assert child.exitcode == 0
            break
        if kills % 4:
            assert started.wait(120)
            time.sleep(moments.uniform(0, 0.12))
        else:  # at any moment of the start
            time.sleep(moments.uniform(0, 1.5))
        assert child.is_alive(), "it finished before it could be killed: train longer"
        child.kill()
        child.join()
        kills += 1
        states = checkpoint.state_files(Root(tmp_path / "killed").run(config.name).state)
        images.append(int(states[0].stem) if states else 0)
    assert images == sorted(images)
    assert len(set(images)) > 5, "progress survived the kills"
    started = context.Event()
    straight = context.Process(target=train_in_child, args=(tmp_path / "straight", config, started))
    straight.start()
    straight.join(240)
    killed, straight_run = (Root(tmp_path / name).run(config.name) for name in ("killed", "straight"))
    assert_same_bits(weights(killed), weights(straight_run))
    assert log_without_time(killed) == log_without_time(straight_run)


# What goes wrong


def test_a_loss_that_is_not_finite_stops_and_leaves_a_failed_row(tmp_path: Path, digits: Any, monkeypatch: Any) -> None:
    suite = tiny_suite("loop.save_seconds=1e-9", "loop.log_images=100000")
    config, root = suite.runs()[0], Root(tmp_path)
    whole = step.Step.__call__

    def diverge(self: step.Step, x0: Tensor, label: Tensor, draw: Any, images: int) -> Any:
        out, norm = whole(self, x0, label, draw, images)
        return (out, norm) if images < 320 else (out | {"loss": out["loss"] * float("nan")}, norm)

    monkeypatch.setattr(step.Step, "__call__", diverge)
    with pytest.raises(RunFailed, match="stopped being finite before 320 images"):
        one_run(suite, tmp_path, digits)
    status = root.run(config.name).read_status()
    assert (status["state"], status["images"], status["total"]) == ("failed", 288, 1824)
    assert [p.stem for p in checkpoint.state_files(root.run(config.name).state)] == ["000000000288", "000000000256"]
    frame, _ = rows.read(root.results)
    assert frame[["metric", "status"]].values.tolist() == [["training", "failed"]]
    assert "finite" in frame["reason"][0]
    # Mended, the same command goes on from the good state, and the failed row is gone.
    monkeypatch.setattr(step.Step, "__call__", whole)
    one_run(suite, tmp_path, digits, TRAIN_ONLY)
    assert rows.read(root.results)[0].empty
    one_run(suite, tmp_path, digits, pipeline.Stages(speed=False))
    assert set(rows.read(root.results)[0]["status"]) == {"ok"}


def test_a_full_disk_keeps_the_last_state(tmp_path: Path, digits: Any, monkeypatch: Any) -> None:
    run, config = RunDirectory(tmp_path / "run"), tiny_run()
    with pytest.raises(Interrupted):
        train.train(config, digits, run, LOOP, watch=stop_at(320))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFailed, match="disk is full"):
        train.train(config, digits, run, LOOP)
    monkeypatch.undo()
    assert not list(run.path.rglob("*.tmp"))
    train.train(config, digits, run, LOOP)
    train.train(config, digits, RunDirectory(tmp_path / "whole"), LOOP)
    assert_same_bits(weights(run), weights(RunDirectory(tmp_path / "whole")))


def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path, digits: Any) -> None:
    run, config = RunDirectory(tmp_path / "run"), tiny_run()
    for images in (320, 640):
        with pytest.raises(Interrupted):
            train.train(config, digits, run, LOOP, watch=stop_at(images))
    newest, before = checkpoint.state_files(run.state)
    newest.write_bytes(newest.read_bytes()[:-100])  # cut short
    said: list[str] = []
    train.train(config, digits, run, LOOP, say=said.append)
    assert f"training from {int(before.stem):,} images" in run.text_log.read_text()
    assert "trying the state before it" in run.text_log.read_text()
    assert "trying the state before it" in said[0], "a person is told, too"
    train.train(config, digits, RunDirectory(tmp_path / "whole"), LOOP)
    assert_same_bits(weights(run), weights(RunDirectory(tmp_path / "whole")))


def test_no_whole_state_is_an_error_not_a_new_start(tmp_path: Path, digits: Any) -> None:
    run, config = RunDirectory(tmp_path / "run"), tiny_run()
    with pytest.raises(Interrupted):
        train.train(config, digits, run, LOOP, watch=stop_at(320))
    (state,) = checkpoint.state_files(run.state)
    data = bytearray(state.read_bytes())
    data[-1] ^= 1  # one bit
    state.write_bytes(data)
    with pytest.raises(BenchError, match=r"No state in .* is whole"):
        train.train(config, digits, run, LOOP)


def test_a_state_of_other_data_is_refused(tmp_path: Path, digits: Any) -> None:
    run, config = RunDirectory(tmp_path / "run"), tiny_run()
    with pytest.raises(Interrupted):
        train.train(config, digits, run, LOOP, watch=stop_at(320))

    class Other(type(digits)):  # type: ignore[misc]
        digest = "other"

    with pytest.raises(BenchError, match="made with other data"):
        train.train(config, Other(), run, LOOP)


def test_the_log_has_the_raw_error_of_both_kinds_of_rows(tmp_path: Path, digits: Any) -> None:
    run = RunDirectory(tmp_path / "run")
    train.train(tiny_run(), digits, run, LOOP)
    lines = [json.loads(line) for line in run.train_log.read_text().splitlines()]
    assert [line["images"] for line in lines] == [320, 640, 960, 1280, 1600, 1824]
    for line in lines:
        assert line["mse"] == pytest.approx(0.75 * line["velocity_mse"] + 0.25 * line["jump_mse"])
        assert line["grad_norm"] > 0
        assert line["seconds"] > 0
    assert lines[-1]["learning_rate"] == pytest.approx(3e-3 * 1824 / 25_600)
