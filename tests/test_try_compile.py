"""train.compile = "try": one choice for all methods, made before runs have names, told loudly, and kept."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bench import compilation, try_compile
from bench.config import Suite
from bench.errors import RunFailed
from bench.rows import read_file
from bench.store import Root
from command_line import bench, mistake
from conftest import tiny_suite

SUITE = tiny_suite("train.compile=try", methods=("flow_matching", "meanflow", "soflow"))
CPU = torch.device("cpu")


def choose(root: Path, digits: Any, monkeypatch: pytest.MonkeyPatch, *failing: str) -> tuple[Suite, list[str], list[str]]:
    """The suite settled with a compiler that fails for some methods; what was tried, and what was said."""
    tried: list[str] = []
    said: list[str] = []

    def attempt(config: Any, *_: Any) -> None:
        assert config.train.compile is True
        tried.append(config.method)
        if config.method in failing:
            raise RunFailed("no such kernel")

    monkeypatch.setattr(try_compile, "attempt", attempt)
    return try_compile.settled(SUITE, digits, CPU, Root(root), said.append), tried, said


def test_all_are_compiled_where_all_can_be(tmp_path: Path, digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, tried, said = choose(tmp_path, digits, monkeypatch)
    assert suite.train.compile is True
    assert tried == ["flow_matching", "meanflow", "soflow"]
    assert said == []
    assert [run.name for run in suite.runs()] == [run.name for run in try_compile.decided(SUITE, True).runs()]


def test_none_is_compiled_where_one_can_not_be(tmp_path: Path, digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, _, said = choose(tmp_path, digits, monkeypatch, "meanflow")
    assert suite.train.compile is False
    assert said == ["NOT COMPILED: all runs train uncompiled (train.compile = false), because of meanflow: no such kernel"]


@pytest.mark.parametrize("choice", [True, False])
def test_what_was_begun_goes_on_as_it_began(choice: bool, tmp_path: Path, digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Root(tmp_path).run(try_compile.decided(SUITE, choice).runs()[1].name)
    run.path.mkdir(parents=True)
    run.config.write_text("")
    suite, tried, _ = choose(tmp_path, digits, monkeypatch, *["meanflow"] * choice)
    assert suite.train.compile is choice
    assert tried == []


def test_the_same_seeds_are_tried_once(tmp_path: Path, digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    several = SUITE.model_copy(update={"run": SUITE.run.model_copy(update={"seeds": 3})})
    tried: list[str] = []
    monkeypatch.setattr(try_compile, "attempt", lambda config, *_: tried.append(config.method))
    try_compile.settled(several, digits, CPU, Root(tmp_path), print)
    assert len(tried) == 3


@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_a_run_goes_on_uncompiled_and_loudly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise AssertionError("no such kernel")

    monkeypatch.setattr(compilation, "BACKEND", broken)
    settings = "run.net=N/2 run.epochs=0.1 train.batch=32 eval.samples=16 eval.steps=[1] eval.seeds=1 train.compile=try"
    words = [word for setting in settings.split() for word in ("--set", setting)]
    result = bench("run", "meanflow", "--root", str(tmp_path), *words)
    assert result.exit_code == 0, result.stderr
    assert "NOT COMPILED: all runs train uncompiled" in result.stderr
    assert "no such kernel" in result.stderr
    frame, _ = read_file(next((tmp_path / "results").glob("*.parquet")))
    assert set(frame["precision"]) == {"fp32"}
    assert "train.compile" not in result.stderr.split("NOT COMPILED")[0]


def test_a_cluster_s_job_is_told_which(tmp_path: Path) -> None:
    said = mistake(bench("run", "soflow", "--launcher", "local", "--root", str(tmp_path), "--set", "train.compile=try"))
    assert 'train.compile = "try"' in said


def test_other_words_are_refused(tmp_path: Path) -> None:
    assert "train.compile" in mistake(bench("run", "soflow", "--root", str(tmp_path), "--set", "train.compile=perhaps"))
