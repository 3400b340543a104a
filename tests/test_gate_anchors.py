"""Planted bugs against the gate's committed weights: each moves what they give, and the verdict names the culprit."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from bench import datasets, metrics, step
from bench.gate import anchors, baselines, checking
from bench.gate.plans import PROFILE, Plan, anchor_of, baseline_of, make_plan
from bench.store import Root
from methods import _path, flow_matching, meanflow, soflow


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(PROFILE, Root(tmp_path_factory.mktemp("committed")))


def moved(plan: Plan, method: str) -> dict[str, set[str]]:
    """Reason -> quantities that the committed weights no longer give."""
    expected = baselines.read(baseline_of(PROFILE))
    anchor = anchors.read(anchor_of(baseline_of(PROFILE), method))
    verdicts = anchors.compare(method, expected.anchors[method].values, anchors.measure(anchor, plan.scene(method)))
    found: dict[str, set[str]] = {}
    for verdict in verdicts:
        if verdict.outcome != "held":
            found.setdefault(verdict.reason, set()).add(verdict.quantity.metric)
    return found


@pytest.mark.parametrize("method", ["soflow", "meanflow", "flow_matching"])
def test_the_committed_baseline_is_of_this_suite_and_its_weights_give_what_they_gave(committed: Plan, method: str) -> None:
    expected = baselines.read(baseline_of(PROFILE))
    expected.require(committed.conditions, baseline_of(PROFILE))
    assert checking.read_anchor(expected, baseline_of(PROFILE), method).digest == expected.anchors[method].digest
    assert moved(committed, method) == {}


def half_of(original: Callable[..., Any]) -> Callable[..., Any]:
    def batch(dataset: Any, *arguments: Any) -> Any:
        x0, _ = original(dataset, *arguments)
        return dataset.images(torch.arange(len(x0)))  # the same few always

    return batch


IMAGES, FEATURES, SCORE, STEP = (anchors.REASONS[kind] for kind in ("image_levels", "features", "score", "step"))
PLANTS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None], str]] = {
    "EMA off": ("soflow", lambda m: m.setattr(step, "ema_decay", lambda *_: 0.0), STEP),
    "wrong time sampling": (
        "meanflow",
        lambda m: m.setattr(_path, "logit_normal", lambda x, mean, std, g, f=_path.logit_normal: f(x, -mean, std, g)), STEP),
    "guidance sign, SoFlow": (
        "soflow", lambda m: m.setattr(
            soflow.Method, "_guide", lambda self, *a, f=soflow.Method._guide: f(replace(self, guidance=2 - self.guidance), *a)),
        STEP),
    "guidance sign, MeanFlow": (
        "meanflow", lambda m: m.setattr(meanflow.Method, "_null_weight", property(lambda self: self.omega + self.kappa - 1)),
        STEP),
    "derivative's sign, MeanFlow": (
        "meanflow",
        lambda m: m.setattr(
            meanflow.Method, "_identity", lambda self, *a, f=meanflow.Method._identity: 2 * a[-1] - f(self, *a)), STEP),
    "half the images": ("flow_matching", lambda m: m.setattr(datasets, "batch", half_of(datasets.batch)), STEP),
    "quantiser half a level low": (
        "flow_matching", lambda m: m.setitem(datasets.OFFSETS, datasets.QUANTISER, 127.5), IMAGES),
    "sampler stops short": (
        "flow_matching",
        lambda m: m.setattr(
            flow_matching.Method, "_velocity", lambda self, *a, f=flow_matching.Method._velocity: 0.99 * f(self, *a)), IMAGES),
    "metric": (
        "flow_matching",
        lambda m: m.setattr(metrics, "frechet_distance", lambda a, b, f=metrics.frechet_distance: 1.005 * f(a, b)), SCORE),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_moves_what_the_committed_weights_give_and_is_named(
    committed: Plan, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, plant, reason = PLANTS[name]
    plant(monkeypatch)
    assert reason in moved(committed, method)


def test_another_extractor_moves_the_features_of_the_stored_images(committed: Plan) -> None:
    class Shifted:
        """The extractor, with its pixels one level brighter."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def outputs(self, images: Any) -> Any:
            return self.inner.outputs((images.int() + 1).clamp(max=255).to(torch.uint8))

    plan = replace(committed, extractor=Shifted(committed.extractor))
    assert FEATURES in moved(plan, "flow_matching")
    assert IMAGES not in moved(plan, "flow_matching")


def test_a_change_of_a_default_is_seen(committed: Plan) -> None:
    """The training step is taken with the settings of today, not with those that the snapshot was trained with."""
    suite = committed.suite
    other = suite.model_copy(update={"train": suite.train.model_copy(update={"learning_rate": 2e-3})})
    assert STEP in moved(replace(committed, suite=other), "flow_matching")


def test_the_plants_of_the_experiment_fit_the_sources() -> None:
    """docs/gate_experiment.py changes source texts: when the code moves, its table could not be made again."""
    path = PROFILE.parents[2] / "docs" / "gate_experiment.py"
    spec = importlib.util.spec_from_file_location("gate_experiment", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, (_, changes) in module.PLANTS.items():
        texts: dict[str, str] = {}
        for file, old, new in changes:
            text = texts.get(file) or (path.parents[1] / file).read_text()
            assert text.count(old) == 1, (name, file)
            texts[file] = text.replace(old, new)
            compile(texts[file], file, "exec")
