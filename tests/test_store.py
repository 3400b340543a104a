"""Files are written whole or not at all; what is damaged, of another version or in use says so."""

import dataclasses
import errno
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bench import checkpoint, pipeline, provenance, rows
from bench.errors import BenchError, RunFailed
from bench.store import Root, RunDirectory, write_atomic
from conftest import one_run, tiny_suite


def failing(number: int) -> Any:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: Any, call: str) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    with pytest.raises(RunFailed, match="disk is full"):
        write_atomic(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_no_permission_is_the_users_to_mend(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EACCES))
    with pytest.raises(BenchError, match="Permission denied"):
        write_atomic(tmp_path / "file", "new")


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(BenchError, match="Not a directory"):
        write_atomic(tmp_path / "runs" / "a" / "b", "text")


def test_one_process_a_run(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with run.locked(), pytest.raises(BenchError, match="in use by another process"), run.locked():
        pass
    with run.locked():
        pass


def test_status_of_another_format_or_damaged(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.read_status()["state"] == "new"
    run.write_status("running", images=3)
    assert run.read_status()["images"] == 3
    run.status.write_text(json.dumps({"format": 99}))
    with pytest.raises(BenchError, match="format 99"):
        run.read_status()
    for garbage in ("", "{", "[1]", "\x00", '{"format": 1}'):
        run.status.write_text(garbage)
        with pytest.raises(BenchError, match=r"damaged|no JSON object|lacks entries"):
            run.read_status()


def test_the_train_log_survives_a_line_cut_short(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.train_log.write_text('{"images": 1}\n{"images": 2}\n{"ima')
    assert [r["images"] for r in run.read_train_log()] == [1, 2]
    run.truncate_train_log(1)
    assert run.train_log.read_text() == '{"images": 1}\n'
    for damage in ('{"images": 1}\nx\n{"images": 3}\n', "[3]\n" + '{"images": 3}\n', '{"image": 1}\n{"images": 3}\n'):
        run.train_log.write_text(damage)
        with pytest.raises(BenchError, match="damaged in line"):
            run.read_train_log()


def test_tensors_come_back_and_damage_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3, dtype=torch.int64)}
    checkpoint.write_tensors(path, tensors, {"x": 1})
    back, facts = checkpoint.read_tensors(path)
    assert facts["x"] == 1
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    whole = path.read_bytes()
    for damage in (whole[:10], whole[:-1], b"", whole[:-1] + bytes([whole[-1] ^ 1]), b"\x80\x04."):
        path.write_bytes(damage)
        with pytest.raises(BenchError, match=r"can not be read|damaged"):
            checkpoint.read_tensors(path)


def test_two_states_are_kept(tmp_path: Path) -> None:
    for images in (1, 2, 3):
        checkpoint.save_state(tmp_path, checkpoint.State(images, "c", "d", {"t": torch.tensor(images)}))
    assert [p.stem for p in checkpoint.state_files(tmp_path)] == ["000000000003", "000000000002"]
    state = checkpoint.load_state(tmp_path, print)
    assert state is not None
    assert (state.images, int(state.tensors["t"])) == (3, 3)


# Result rows


def row(**changes: Any) -> rows.Row:
    base = rows.Row(
        run="r", method="soflow", dataset="digits", net="N/2", epochs=1.0, images=32, metric="frechet_distance", value=1.5,
        protocol="p", precision="fp32", attention="auto", device="cpu", started_at="2026-01-01T00:00:00Z", seconds=1.0,
        train_seed=0, steps=1, n=64, sample_seed=0, better="min",
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def test_rows_come_back_with_their_types(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    rows.write(path, [row(), row(steps=None, value=None, status="failed", reason="why")], {"run": "r"})
    frame, description = rows.read_file(path)
    assert description == {"schema": rows.VERSION, "run": "r"}
    assert list(frame.columns) == rows.SCHEMA.names
    assert frame["value"][0] == 1.5
    assert pd.isna(frame["value"][1])
    assert pd.isna(frame["steps"][1])


def test_a_newer_row_replaces_the_older_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    rows.write(path, [row(), row(steps=2)], {"protocols": {"p": 1}})
    rows.write(path, [row(value=2.5), row(steps=None)], {"protocols": {"q": 2}})
    rows.write(path, [row(steps=None, value=9.0)], {})
    frame, description = rows.read_file(path)
    assert sorted(frame["value"]) == [1.5, 2.5, 9.0]
    assert description["protocols"] == {"p": 1, "q": 2}


def test_merging_results_is_copying_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows.write(tmp_path / f"{name}.parquet", [row(run=name)], {"run": name})
    frame, descriptions = rows.read(tmp_path)
    assert list(frame["run"]) == ["a", "b"]
    assert set(descriptions) == {"a", "b"}
    assert rows.read(tmp_path / "none")[0].empty


def test_files_that_are_not_results(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(BenchError, match="damaged"):
        rows.read(tmp_path)
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(BenchError, match="not written by this suite"):
        rows.read(tmp_path)


# The run directory


def test_a_run_directory_that_is_not_as_it_was_left(tmp_path: Path, digits: Any) -> None:
    suite = tiny_suite("run.epochs=0.05")
    (config,) = suite.runs()
    run = Root(tmp_path).run(config.name)

    def go() -> None:
        one_run(suite, tmp_path, digits, pipeline.Stages(evaluate=False, speed=False))

    go()
    assert run.config.read_text() == config.as_toml(suite)
    assert json.loads(run.provenance.read_text())["command"] == provenance.command(config, suite)
    snapshot = run.newest_snapshot()
    assert snapshot is not None
    first = checkpoint.load_snapshot(snapshot).weights
    snapshot.write_bytes(snapshot.read_bytes()[:-8])  # a damaged result of training is made again
    go()
    again = checkpoint.load_snapshot(snapshot).weights
    assert all(torch.equal(first[name], again[name]) for name in first)
    run.config.write_text(config.as_toml(suite).replace("batch = 32", "batch = 64"))
    with pytest.raises(BenchError, match="is not what this run's settings resolve to"):
        go()
