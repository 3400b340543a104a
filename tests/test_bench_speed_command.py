"""`bench speed` as it is typed: it measures, writes and prints, names mistakes, and goes on where a group of cells is lost."""

import time
from pathlib import Path
from typing import Any

import pytest

from bench.errors import RunFailed
from bench.speed import results, sweep, training
from bench.speed.request import parse_shape, split
from command_line import bench, mistake
from speed_requests import TINY, tiny


def test_the_command_measures_writes_and_prints(tmp_path: Path) -> None:
    done = bench(
        "speed", "soflow", "flow_matching", "--net", "N/4", "--shape", "4x8x8", "--classes", "10", "--batch", "8", "--seconds",
        "0.01", "--steps", "1", "--sample-batch", "1", "--device", "cpu", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Training step: N/4, fp32, batch 8" in done.output
    assert max(len(line) for line in done.output.splitlines() if "README.md beside it" not in line) <= 80
    frame, description = results.read(tmp_path / "out" / sweep.FILE)
    assert set(frame["method"]) == {"", "soflow", "flow_matching"}
    assert description["hyperparameters"]["soflow"]["guidance"] == 3.0, "the paper's, not bench.toml's of the digits"
    assert (tmp_path / "out" / "README.md").read_text().startswith("# What the methods cost on")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--variant", "quick"], "Unknown variant 'quick'"),
        (["--precision", "fp8"], "Unknown precision 'fp8'"),
        (["--net", "Z/9"], "Unknown net 'Z/9'"),
        (["--net", "B/4", "--shape", "4x30x30"], "does not divide"),
        (["--shape", "4x32"], "--shape 4x32"),
        (["--sample-batch", "0"], "--sample-batch 0"),
        (["--minutes", "0"], "--minutes 0"),
        (["--minutes", "nan"], "--minutes nan"),
        (["--seconds", "inf"], "--seconds inf"),
        (["--seconds", "0"], "--seconds 0"),
        (["--memory", "nan", "--max-batch"], "--memory nan"),
        (["--set", "train.batch=64"], "--set train.batch=64 without --config"),
        (["--memory", "3"], "--memory without --max-batch"),
        (["--decoder", "mine"], "Unknown decoder"),
        (["--device", "cuda:7"], "cuda:7"),
        (["nothing"], "Unknown method 'nothing'"),
    ],
)
def test_mistakes_are_named_before_anything_is_measured(words: list[str], said: str, tmp_path: Path) -> None:
    assert said in mistake(bench("speed", *words, "--root", str(tmp_path)))
    assert not (tmp_path / "speed").exists()


def test_the_decoder_fits_latents_alone() -> None:
    said = mistake(bench("speed", "--decoder", "sd-vae", "--shape", "1x8x8", "--net", "N/4", "--device", "cpu"))
    assert "latents of 4 channels" in said


def test_shapes_and_lists() -> None:
    assert parse_shape("4x32x32") == (4, 32, 32)
    assert split(["B/4,B/2", "XL/2", "B/4"]) == ("B/4", "B/2", "XL/2")


# Groups, each in a process of its own


def test_a_killed_group_is_a_row_and_the_sweep_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    calls: list[str] = []

    def apart(what: str, work: Any, *arguments: Any, **_: Any) -> Any:
        if what == "looks at the device":
            return {"device": "a device"}
        calls.append(what)
        if len(calls) == 1:
            raise RunFailed("the process that measures speed ended with code -9 (out of memory?)")
        return work(*arguments)

    monkeypatch.setattr(sweep, "in_own_process", apart)
    one = tiny(methods=("flow_matching",), variants=("optimised",), steps=(1,), sample_batches=(1,))
    sweep.sweep(one, tmp_path, "bench speed", said.append)
    frame, description = results.read(tmp_path / sweep.FILE)
    lost = frame[frame["status"] == "failed"]
    assert lost["reason"].tolist() == ["the process that measures speed ended with code -9 (out of memory?)"]
    assert (frame["work"] == "generate").any(), "sampling was measured after it"
    assert description["command"] == "bench speed"


def test_a_group_that_hangs_is_ended() -> None:
    from bench.apart import in_own_process

    with pytest.raises(RunFailed, match="was ended after 1 seconds"):
        in_own_process("waits", time.sleep, 60, limit=1)


def test_what_is_not_reached_starts_no_process_and_is_marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[str] = []

    def apart(what: str, *_: Any, **__: Any) -> Any:
        started.append(what)
        return {"device": "a device"}

    monkeypatch.setattr(sweep, "in_own_process", apart)
    sweep.sweep(tiny(minutes=1e-9), tmp_path, "bench speed", lambda _: None)
    frame, _ = results.read(tmp_path / sweep.FILE)
    assert started == ["looks at the device"]
    assert set(frame["status"]) == {"skipped"}
    assert set(frame["reason"]) == {training.BUDGET_SPENT}
    assert len(frame) == len(sweep.groups(TINY))
