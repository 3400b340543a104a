"""States that are written beside the training: copies, in order, errors not lost; and damaged ones, of which none passes."""

import contextlib
import random
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import checkpoint, train
from bench.errors import BenchError, Interrupted, RunFailed
from bench.saving import Saver
from bench.store import RunDirectory
from conftest import tiny_run
from short_trainings import LOOP, stop_at

DAMAGES = 50


def nothing() -> None:
    return None


def numbers(value: float) -> dict[str, Tensor]:
    return {"net.a": torch.full((1000,), value)}


def test_training_goes_on_while_a_state_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensors change under the thread; what is stored is what they were."""
    go, whole = threading.Event(), checkpoint.save_state

    def slow(*given: Any) -> None:
        assert go.wait(60)
        whole(*given)

    monkeypatch.setattr(checkpoint, "save_state", slow)
    tensors, written = numbers(1.0), []
    with Saver(tmp_path, "c", "d") as saver:
        saver.save(10, tensors, lambda: written.append(10))
        tensors["net.a"].fill_(2.0)
        assert not written
        go.set()
        saver.save(20, tensors, lambda: written.append(20))
        assert written[0] == 10, "one at a time, in order"
    assert written == [10, 20]
    states = [checkpoint.read_tensors(path)[0] for path in checkpoint.state_files(tmp_path)]
    assert [float(state["net.a"][0]) for state in states] == [2.0, 1.0]


def test_what_writing_raised_is_raised_at_the_next_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise RunFailed("the disk is full")

    monkeypatch.setattr(checkpoint, "save_state", full)
    saver = Saver(tmp_path, "c", "d")
    saver.save(10, numbers(1.0), nothing)
    with pytest.raises(RunFailed, match="disk is full"):
        saver.save(20, numbers(1.0), nothing)
    with pytest.raises(RunFailed, match="disk is full"), saver:
        saver.save(30, numbers(1.0), nothing)
    other = Saver(tmp_path, "c", "d")
    other.save(40, numbers(1.0), nothing)
    with pytest.raises(KeyError, match="counts"), other:
        raise KeyError("the first error is the one that counts")


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Cut anywhere, or with one bit changed anywhere, the header more often than its share."""
    if draw.random() < 0.5:
        return data[: draw.randrange(len(data))]
    place = draw.randrange(2000) if draw.random() < 0.5 else draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :]


def test_of_fifty_damaged_states_none_passes(tmp_path: Path, digits: Any) -> None:
    """Each falls back to the state before it, with a message; a damaged snapshot is named. Nothing but BenchError comes out."""
    run, config = RunDirectory(tmp_path / "run"), tiny_run()
    for images in (160, 320):
        with pytest.raises(Interrupted):
            train.train(config, digits, run, LOOP, watch=stop_at(images))
    newest, before = checkpoint.state_files(run.state)
    data, draw = newest.read_bytes(), random.Random(0)
    intact = checkpoint.load_state(run.state, lambda _: pytest.fail("it was whole"))
    assert intact is not None
    for _ in range(DAMAGES):
        newest.write_bytes(damaged(data, draw))
        said: list[str] = []
        state = checkpoint.load_state(run.state, said.append)
        assert state is not None
        if state.images == int(before.stem):
            assert "trying the state before it" in said[0]
        else:  # a bit of the header's padding, which says nothing
            assert checkpoint.content_digest(state.tensors) == checkpoint.content_digest(intact.tensors)
            assert (state.images, state.config_digest, state.data_digest) == (320, config.digest, digits.digest)


def test_of_fifty_damaged_snapshots_none_passes(tmp_path: Path, digits: Any) -> None:
    path = tmp_path / "snapshot.safetensors"
    whole = checkpoint.Snapshot(5, {"method": "soflow"}, (1, 8, 8), 10, digits.digest, numbers(3.0))
    checkpoint.save_snapshot(path, whole)
    data, draw = path.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(DAMAGES):
        path.write_bytes(damaged(data, draw))
        found = None
        with contextlib.suppress(BenchError):
            found = checkpoint.load_snapshot(path)
        if found is None:
            refused += 1
            continue
        assert found.weights.keys() == whole.weights.keys()
        assert torch.equal(found.weights["net.a"], whole.weights["net.a"])
        assert (found.images, found.config, found.shape, found.data_digest) == (5, whole.config, whole.shape, digits.digest)
    assert refused > 0.9 * DAMAGES
