"""What is made ahead is what would be made in line: in order, nothing lost, errors in their place, no thread left behind."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import prefetch, rng, train
from bench.errors import BenchError, Interrupted, RunFailed
from bench.prefetch import Ahead, page_locked
from bench.speed.work import training_step
from bench.step import Step, load_method
from bench.store import RunDirectory
from conftest import tiny_run
from short_trainings import LOOP, assert_same_bits, log_without_time, weights

CPU = torch.device("cpu")
NO_GPU = "torch sees no CUDA device: streams and page-locked memory are not tested here"


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    assert not threads()
    yield
    assert not threads()


@pytest.fixture
def ahead_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "depth", lambda _: 2)


# The iterator


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("depth", range(4))
def test_every_position_comes_once_and_in_order(count: int, depth: int) -> None:
    with Ahead(lambda p: p * p, range(3, 3 + count), depth) as made:
        assert list(made) == [p * p for p in range(3, 3 + count)]
        assert list(made) == []


def test_so_many_are_made_ahead_and_no_more() -> None:
    begun: list[int] = []
    arrived = threading.Semaphore(0)

    def make(p: int) -> int:
        begun.append(p)
        arrived.release()
        return p

    with Ahead(make, itertools.count(), 2) as made:
        for p in range(5):
            assert next(made) == p
            for _ in range(3 if p == 0 else 1):
                assert arrived.acquire(timeout=30), "it is made while this one is at hand"
            assert begun == list(range(p + 3))


def test_none_ahead_is_in_line() -> None:
    with Ahead(lambda _: threading.current_thread(), range(2), 0) as made:
        assert list(made) == [threading.current_thread()] * 2
    with Ahead(lambda _: threading.current_thread(), range(2), 1) as made:
        assert threading.current_thread() not in list(made)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_error_comes_where_its_value_would_have(depth: int) -> None:
    error = BenchError("the disk", "a disk", "Buy one.")

    def make(p: int) -> int:
        if p == 2:
            raise error
        return p

    seen: list[int] = []
    with Ahead(make, range(9), depth) as made, pytest.raises(BenchError) as caught:
        seen.extend(made)
    assert seen == [0, 1]
    assert caught.value is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RunFailed("not finite"), None])
def test_leaving_early_waits_for_the_one_at_work_and_drops_the_rest(error: Any) -> None:
    begun, go = [], threading.Event()

    def make(p: int) -> int:
        begun.append(p)
        if p == 1:
            assert go.wait(30)
        return p

    def leave() -> None:
        with Ahead(make, range(9), 3) as made:
            assert next(made) == 0
            threading.Timer(0.05, go.set).start()
            if error:
                raise error

    if error:
        with pytest.raises(type(error) if isinstance(error, Exception) else error):
            leave()
    else:
        leave()
    assert not threads()
    assert max(begun) <= 1, "what had not begun was dropped"


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Python's own handler: a process that was started in the background ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_while_waiting_closes_it() -> None:
    asked = threading.Event()

    def make(p: int) -> int:
        if p == 1:
            assert asked.wait(30)
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)  # which the main thread gets, waiting for this one
            time.sleep(0.05)
        return p

    made = Ahead(make, range(9), 1)
    assert next(made) == 0
    asked.set()
    with pytest.raises(KeyboardInterrupt):
        next(made)
    assert not threads()
    assert list(made) == []


# Noise


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (1, 4, 4), (3, 3, 3), (1, 8, 8), (4, 16, 16)])
def test_the_noise_of_an_image_is_that_of_a_generator_of_its_own(shape: tuple[int, int, int]) -> None:
    found = rng.image_noise(3, "noise", [7, 2, 7, 10**12], shape, 1)
    expected = [torch.randn(shape, generator=rng.generator(3, "noise", i, 1)) for i in (7, 2, 7, 10**12)]
    assert torch.equal(found, torch.stack(expected))
    assert rng.image_noise(3, "noise", range(0), shape).shape == (0, *shape)


# Training


def test_only_a_gpu_gets_its_inputs_ahead() -> None:
    assert prefetch.depth(CPU) == 0
    assert prefetch.depth(torch.device("cuda", 1)) == 2


@pytest.mark.usefixtures("ahead_on_a_cpu")
@pytest.mark.parametrize("method", ["soflow", "meanflow"])
def test_inputs_made_ahead_train_to_the_same_bits(
    tmp_path: Path, digits: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in between and gone on with, too: what was made and not used is made again."""
    config = tiny_run("run.epochs=0.4", method=method)
    ahead, line = RunDirectory(tmp_path / "ahead"), RunDirectory(tmp_path / "line")

    def stop(done: int, _: int) -> None:
        assert len(threads()) == 1
        if done == 320:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train.train(config, digits, ahead, LOOP, watch=stop)
    assert not threads()
    train.train(config, digits, ahead, LOOP)
    monkeypatch.undo()
    train.train(config, digits, line, LOOP, watch=lambda *_: pytest.fail("a thread") if threads() else None)
    assert_same_bits(weights(ahead), weights(line))
    assert log_without_time(ahead) == log_without_time(line)


@pytest.mark.usefixtures("ahead_on_a_cpu")
def test_each_step_gets_the_inputs_of_its_own_position(tmp_path: Path, digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config, whole, seen = tiny_run("run.epochs=0.2"), Step.__call__, []

    def note(self: Step, x0: Tensor, label: Tensor, draw: Any, images: int) -> Any:
        expected = train.inputs(config, digits, load_method(config, 10), self.share, images - 32, config.total_images(1797))
        assert torch.equal(x0, expected[0])
        assert torch.equal(draw.t, expected[2].t)
        seen.append(images)
        return whole(self, x0, label, draw, images)

    monkeypatch.setattr(Step, "__call__", note)
    train.train(config, digits, RunDirectory(tmp_path / "run"), LOOP)
    assert seen == list(range(32, config.total_images(1797) + 1, 32))


@pytest.mark.usefixtures("ahead_on_a_cpu")
def test_a_step_that_fails_and_data_that_fail_end_the_thread(
    tmp_path: Path, digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, seen = Step.__call__, []

    def diverge(self: Step, x0: Tensor, label: Tensor, draw: Any, images: int) -> Any:
        seen.append(images)
        if images == 96:
            raise RunFailed("not finite")
        return whole(self, x0, label, draw, images)

    monkeypatch.setattr(Step, "__call__", diverge)
    with pytest.raises(RunFailed, match="not finite"):
        train.train(tiny_run(), digits, RunDirectory(tmp_path / "step"), LOOP)
    assert not threads()

    class Torn(type(digits)):  # type: ignore[misc]
        def images(self, index: Tensor) -> tuple[Tensor, Tensor]:
            calls.append(len(index))
            if len(calls) == 3:
                raise BenchError("shard 3 is damaged", "a whole one", "Make it again.")
            return super().images(index)  # type: ignore[no-any-return]

    calls: list[int] = []
    seen.clear()
    with pytest.raises(BenchError, match="shard 3"):
        train.train(tiny_run(), Torn(), RunDirectory(tmp_path / "data"), LOOP)
    assert seen == [32, 64], "the batches before it were trained on"


@pytest.mark.usefixtures("ahead_on_a_cpu")
def test_making_inputs_touches_nothing_of_the_process(digits: Any) -> None:
    config = tiny_run()
    method, share = load_method(config, 10), Step.start(config, digits, CPU).share
    before = torch.get_rng_state(), torch.get_num_threads(), torch.get_float32_matmul_precision()
    make = lambda images: train.inputs(config, digits, method, share, images, 1824)  # noqa: E731
    with train.upcoming(make, range(0, 1824, 32), CPU) as batches:
        for seen, (x0, label, draw) in zip(range(0, 1824, 32), batches, strict=True):
            expected = train.inputs(config, digits, method, share, seen, 1824)
            assert torch.equal(x0, expected[0])
            assert torch.equal(label, expected[1])
            assert torch.equal(draw.noise, expected[2].noise)
            assert torch.equal(draw.t, expected[2].t)
    after = torch.get_rng_state(), torch.get_num_threads(), torch.get_float32_matmul_precision()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_the_step_that_is_timed_takes_its_inputs_the_same_way(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    line = training_step(tiny_run(), digits, CPU)
    expected = [float(line()) for _ in range(4)]
    monkeypatch.setattr(train, "depth", lambda _: 2)
    ahead = training_step(tiny_run(), digits, CPU)
    assert [float(ahead()) for _ in range(4)] == expected
    (own,) = [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
    del ahead  # nobody closes it: it ends with the work
    own.join(30)
    assert not own.is_alive()


# On a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
def test_a_gpu_gets_the_same_inputs_from_page_locked_memory(digits: Any) -> None:
    gpu, config = torch.device("cuda", torch.cuda.device_count() - 1), tiny_run()
    method, share = load_method(config, 10), Step.start(config, digits, CPU).share
    stream = torch.cuda.Stream(gpu)  # type: ignore[no-untyped-call]
    made_on = []

    def make(images: int) -> train.Inputs:
        made_on.append(torch.cuda.current_stream(gpu))
        assert torch.cuda.current_device() == gpu.index
        return train.inputs(config, digits, method, share, images, 1824)

    with torch.cuda.stream(stream), train.upcoming(make, range(0, 320, 32), gpu) as batches:
        for seen, given in zip(range(0, 320, 32), batches, strict=True):
            assert given[0].is_pinned()
            expected = train.inputs(config, digits, method, share, seen, 1824)
            assert torch.equal(train.on_device(given, gpu)[0].cpu(), expected[0])
    assert set(made_on) == {stream}


def test_memory_for_a_cpu_is_left_as_it_is() -> None:
    x = torch.zeros(3)
    assert page_locked(x, CPU) is x
