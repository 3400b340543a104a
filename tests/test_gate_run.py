"""The whole gate on tiny trainings: a baseline made, checked, moved, broken."""

import concurrent.futures
import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bench import metrics, train
from bench.errors import BenchError, RunFailed
from bench.gate import baselines, checking, forms, judgement, step_ratio, updating, work
from bench.gate.judgement import Quantity
from bench.gate.plans import anchor_of, baseline_of, make_plan
from bench.store import Root
from result_rows import frame, row

TINY = """
[run]
methods = ["flow_matching"]
net = "N/4"
epochs = 0.1
seeds = 6
[train]
batch = 32
[loop]
device = "cpu"
log_images = 32
[eval]
samples = 24
steps = [1, 2]
seeds = 2
extractor = "digits"
metrics = ["frechet_distance", "class_accuracy"]
[eval.extra_steps]
"""


class Inline:
    """An executor that does the work here and now, so that a planted bug is there too."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> "concurrent.futures.Future[Any]":
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def inline(_: Any) -> Iterator[Inline]:
    yield Inline()


@pytest.fixture
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "crew", inline)
    monkeypatch.setattr(updating, "crew", inline)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny profile with its baseline, made by the tool."""
    profile = tmp_path_factory.mktemp("gate") / "tiny.toml"
    profile.write_text(TINY)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(updating, "crew", inline)
        sentence = updating.update(profile, say=said.append)
    assert "6 quantities of 6 training seeds" in sentence
    assert said[0].startswith("6 training runs, about"), "how long it takes is said before it starts"
    return profile


@pytest.fixture
def profile(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    for file in made.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / made.name


def edit(profile: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = baseline_of(profile)
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def scale(metric: str, factor: float) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        for entry in raw["quantities"]:
            if entry["metric"] == metric:
                entry["values"] = [factor * v for v in entry["values"]]

    return change


# The whole check


@pytest.mark.usefixtures("_inline")
def test_an_unchanged_suite_holds_and_gives_the_baselines_own_values(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = checking.check(profile, started_by="bench check --config tiny.toml")
    assert report.code == 0, forms.text(report)
    assert {v.outcome for v in report.verdicts} == {"held"}
    assert "2 of 2 training runs gave the baseline's own values, to nine digits" in report.notes
    assert {v.judged_by for v in report.verdicts} == {"seeds", "same weights"}
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    (tmp_path / "step.md").write_text("before\n")
    written = checking.save(report, tmp_path / "out")
    assert [path.name for path in written] == ["summary.md", "junit.xml", "check.json"]
    assert (tmp_path / "step.md").read_text() == "before\n" + written[0].read_text() + "\n"
    assert ElementTree.fromstring(written[1].read_text()).find("testsuite") is not None
    raw = json.loads(written[2].read_text())
    assert raw["check"]["command"] == "bench check --config tiny.toml"
    assert raw["baseline"]["versions"]["torch"] == torch.__version__.partition("+")[0]


@pytest.mark.usefixtures("_inline")
@pytest.mark.parametrize(
    ("metric", "factor", "code"),
    [("frechet_distance", 0.8, judgement.EXIT_REGRESSED), ("frechet_distance", 1.25, judgement.EXIT_IMPROVED),
     ("velocity_mse", 1.5, judgement.EXIT_REGRESSED), ("velocity_mse", 0.7, judgement.EXIT_REGRESSED)],
)  # fmt: skip
def test_what_moved_is_looked_at_with_more_seeds_and_named(profile: Path, metric: str, factor: float, code: int) -> None:
    edit(profile, scale(metric, factor))
    said: list[str] = []
    report = checking.check(profile, say=said.append)
    assert report.code == code
    assert any("something looks odd" in line for line in said)
    loud = [v for v in report.verdicts if v.outcome != "held"]
    assert {v.quantity.metric for v in loud} == {metric}
    assert all(v.seeds[1] == judgement.seeds_needed(6, 6 + 1) for v in loud), "six quantities and a speed"


@pytest.mark.usefixtures("_inline")
def test_a_quantity_that_is_not_measured_any_more_is_red(profile: Path) -> None:
    def change(raw: dict[str, Any]) -> None:
        raw["quantities"].append({**raw["quantities"][0], "metric": "recall"})

    edit(profile, change)
    report = checking.check(profile)
    assert report.code == judgement.EXIT_REGRESSED
    assert [v.quantity.metric for v in report.verdicts if v.outcome == "missing"] == ["recall"]


@pytest.mark.usefixtures("_inline")
def test_a_run_that_fails_is_no_verdict(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RunFailed("the loss stopped being finite")

    monkeypatch.setattr(train, "train", broken)
    report = checking.check(profile)
    assert report.code == judgement.EXIT_NOT_RUN
    assert report.failures[0] == "flow_matching, seed 0: the loss stopped being finite"
    assert "the loss stopped being finite" in forms.text(report)
    before = baseline_of(profile).read_bytes()
    with pytest.raises(RunFailed, match="no baseline was written"):
        updating.update(profile)
    assert baseline_of(profile).read_bytes() == before


@pytest.mark.usefixtures("_inline")
def test_whatever_the_suite_raises_is_a_failure_and_not_the_gates_end(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "accuracy", lambda *_: 1 / 0)
    report = checking.check(profile)
    assert report.code == judgement.EXIT_NOT_RUN
    assert all("ZeroDivisionError" in failure for failure in report.failures)
    assert len(report.failures) == 3, "two training runs, and the committed weights"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("epochs = 0.1", "epochs = 0.2", "profile"), ("samples = 24", "samples = 25", "profile"), ("[1, 2]", "[1]", "profile")],
)
def test_a_check_under_another_profile_is_refused_before_it_trains(profile: Path, old: str, new: str, said: str) -> None:
    profile.write_text(profile.read_text().replace(old, new))
    with pytest.raises(BenchError) as caught:
        checking.check(profile, say=lambda _: pytest.fail("it began"))
    assert said in caught.value.given
    assert "--update" in caught.value.remedy


def test_other_mistakes_are_refused_before_it_trains(profile: Path, tmp_path: Path) -> None:
    anchor = anchor_of(baseline_of(profile), "flow_matching")
    edit(profile, lambda raw: raw["same_weights"]["flow_matching"].update(digest="0" * 64))
    with pytest.raises(BenchError, match="has digest"):
        checking.check(profile)
    anchor.write_bytes(anchor.read_bytes()[:-1])
    with pytest.raises(BenchError, match="bench check --update"):
        checking.check(profile)
    with pytest.raises(BenchError, match="There is no baseline"):
        checking.check(profile, tmp_path / "none-baseline.json")
    with pytest.raises(BenchError, match=r"Cannot read .*none\.toml"):
        checking.check(tmp_path / "none.toml")
    with pytest.raises(BenchError, match="at least 5"):
        updating.update(profile, seeds=4)
    profile.write_text(TINY.replace('"digits"\n', '["digits", "pixels"]\n'))
    with pytest.raises(BenchError, match="2 extractors"):
        updating.update(profile)


def test_processes_of_their_own_give_the_same_values_and_one_that_is_killed_is_a_failure(profile: Path, tmp_path: Path) -> None:
    plan = make_plan(profile, Root(tmp_path / "root"))
    expected = baselines.read(baseline_of(profile))

    def trained(seeds: range) -> tuple[list[work.Measured], list[str]]:
        return work.train_all(executor, plan.suite, plan.configs(seeds), plan.root, plan.conditions.protocol, lambda _: None)

    with work.crew(plan.suite) as executor:
        runs, failures = trained(range(1))
        assert failures == []
        assert checking.is_same(runs[0], expected)
        with pytest.raises(RunFailed, match="ended by itself"):
            work.apart(executor, os._exit, 9)
        runs, failures = trained(range(2))
    assert runs == []
    assert failures


def test_speed_is_a_ratio_and_judged_only_on_the_baselines_processor(profile: Path, tmp_path: Path) -> None:
    plan = make_plan(profile, Root(tmp_path / "root"))
    ratios = step_ratio.ratios(plan.suite)
    assert 0.3 < ratios["flow_matching"] < 5, "one forward and one backward pass on either side"
    expected = baselines.read(baseline_of(profile))
    for processor, outcome in (("another one", "not judged"), (checking.provenance.processor(), "regressed")):
        known = baselines.Speeds(processor=processor, ratios={"flow_matching": (0.01, 0.011, 0.012, 0.011, 0.01)})
        verdicts = checking.judge_speed(Inline(), plan, replace(expected, speeds=known), lambda _: None)  # type: ignore[arg-type]
        assert [v.outcome for v in verdicts] == [outcome]
    assert checking.judge_speed(Inline(), plan, expected, lambda _: None)[0].reason == "the baseline has none"  # type: ignore[arg-type]


# What a run gives


def test_rows_of_another_protocol_or_another_training_are_not_measured() -> None:
    good = [row("soflow", 0, value=v, sample_seed=s, images=100, protocol="p") for s, v in ((0, 2.0), (1, 4.0))]
    found, better = work.from_rows(frame(*good), protocol="p", images=100, sample_seeds=2)
    assert found == {Quantity("soflow", "frechet_distance", 1): 3.0}
    assert better == {Quantity("soflow", "frechet_distance", 1): "min"}
    for change in ({"protocol": "q"}, {"images": 99}, {"status": "failed", "value": None}, {"sample_seed": 0}):
        spoilt = frame(good[0], replace(good[1], **change))
        assert work.from_rows(spoilt, protocol="p", images=100, sample_seeds=2) == ({}, {}), change
    nothing = pd.DataFrame(columns=frame(*good).columns)
    assert work.from_rows(nothing, protocol="p", images=100, sample_seeds=2) == ({}, {})


def test_the_log_is_averaged_over_the_last_quarter_by_images() -> None:
    log = [{"images": i, "velocity_mse": v, "grad_norm": 1.0} for i, v in ((50, 9.0), (75, 8.0), (90, 2.0), (100, 4.0))]
    assert work.from_log("m", log, 100)[Quantity("m", "velocity_mse")] == pytest.approx((15 * 2 + 10 * 4) / 25)
    assert Quantity("m", "jump_mse") not in work.from_log("m", log, 100)
    assert work.from_log("m", log[-1:], 100)[Quantity("m", "velocity_mse")] == 4.0, "one line: all there is"
    assert work.from_log("m", log, 200) == {}, "training that stopped half-way"
    assert work.from_log("m", [], 100) == {}
