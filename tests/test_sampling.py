"""Sampling and scoring: the same images for any batch size, exactly n of them, rows that say under what conditions."""

import dataclasses
import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bench import checkpoint, datasets, dist, evaluate, extractors, metrics, pipeline, references, rows, sample
from bench.config import Eval, RunConfig, Suite
from bench.errors import BenchError, RunFailed
from bench.speed import run_rows
from bench.store import Root
from conftest import one_run, scored, tiny_suite

Finished = tuple[Root, list[RunConfig], Suite]
CPU = torch.device("cpu")


def model_of(finished: Finished, method: str) -> sample.Model:
    root, runs, _ = finished
    (config,) = [run for run in runs if run.method == method]
    path = root.run(config.name).newest_snapshot()
    assert path is not None
    return sample.load_model(checkpoint.load_snapshot(path), CPU)


def images_of(model: sample.Model, dataset: Any, steps: int, **request: Any) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(sample.generate(model, dataset, sample.Request(**request), steps))
    return torch.cat([b.images for b in batches]), torch.cat([b.label for b in batches])


@pytest.mark.parametrize(("method", "steps"), [("soflow", 1), ("soflow", 4), ("meanflow", 2), ("flow_matching", 4)])
def test_image_i_does_not_depend_on_the_batch_size(finished: Finished, digits: Any, method: str, steps: int) -> None:
    model = model_of(finished, method)
    images, labels = images_of(model, digits, steps, samples=100, batch=100)
    assert images.dtype == torch.uint8
    assert images.shape == (100, 1, 8, 8)
    for batch in (1, 7, 64, 1000):
        other, other_labels = images_of(model, digits, steps, samples=100, batch=batch)
        assert torch.equal(labels, other_labels)
        # The same numbers in another order of additions: at most the last bit of a pixel, and hardly ever.
        difference = (images.int() - other.int()).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 1e-3


def test_more_samples_extend_fewer(finished: Finished, digits: Any) -> None:
    model = model_of(finished, "soflow")
    few, _ = images_of(model, digits, 2, samples=10, batch=10)
    many, _ = images_of(model, digits, 2, samples=33, batch=10)
    assert len(many) == 33
    assert torch.equal(few, many[:10])


def test_seeds_and_fresh_noise_matter(finished: Finished, digits: Any) -> None:
    model = model_of(finished, "soflow")
    one, _ = images_of(model, digits, 2, samples=8, seed=0)
    two, _ = images_of(model, digits, 2, samples=8, seed=1)
    assert not torch.equal(one, two)
    fresh = sample.Renoise(0, range(3), (1, 8, 8), CPU)
    assert torch.equal(fresh[0], fresh[0])
    assert not torch.equal(fresh[0], fresh[1])
    assert torch.equal(sample.Renoise(0, range(2, 3), (1, 8, 8), CPU)[1], fresh[1][2:])


def test_scores_do_not_depend_on_the_batch_size(finished: Finished, digits: Any, tmp_path: Path) -> None:
    model = model_of(finished, "meanflow")
    scores = []
    for batch in (7, 100):
        settings = Eval(samples=100, batch=batch, steps=(1, 2), seeds=2)
        found = scored(model, digits, settings, tmp_path)
        scores.append({(row.metric, row.steps, row.sample_seed): row.value for row in found})
    for key, value in scores[0].items():
        assert value == pytest.approx(scores[1][key], rel=1e-3), key


def test_rows_carry_their_conditions(finished: Finished) -> None:
    root, runs, suite = finished
    frame, descriptions = rows.read(root.results)
    assert set(frame["run"]) == {run.name for run in runs}
    quality = frame[frame["metric"] == "frechet_distance"]
    assert sorted(zip(quality["method"], quality["steps"], strict=True)) == [
        ("flow_matching", 1), ("flow_matching", 2), ("flow_matching", 4), ("meanflow", 1), ("meanflow", 2), ("soflow", 1),
        ("soflow", 2),
    ]  # fmt: skip
    assert set(quality["n"]) == {64}
    assert set(quality["images"]) == {1824}
    assert quality["protocol"].nunique() == 1
    (protocol,) = set(quality["protocol"])
    conditions = descriptions[runs[0].name]["protocols"][protocol]
    assert conditions["samples"] == suite.eval.samples == 64
    assert set(frame["status"]) == {"ok"}
    cpu = torch.device("cpu")  # a score is of the machine, a speed of the threads that were used
    assert set(quality["device"]) == {dist.device_label(cpu)}
    costs = frame[frame["metric"].isin(["train_seconds", "train_images_per_second", "latency_ms", "train_peak_bytes"])]
    assert set(costs["device"]) == {dist.timing_label(cpu)}
    assert set(costs["metric"]) >= {"train_seconds", "train_images_per_second"}
    for column in ("started_at", "device", "commit", "protocol", "precision", "attention"):
        assert frame[column].str.len().min() > 0, column


def test_every_condition_changes_the_protocol(digits: Any, tmp_path: Path) -> None:
    extractor = extractors.load("digits", shape=digits.shape)
    pixels = extractors.load("pixels", shape=digits.shape)
    real = references.of_dataset(digits, extractor, tmp_path)
    other = dataclasses.replace(real, digest="0" * 64)
    found = [
        evaluate.make_protocol(r, e, Eval(samples=n, label_rule=rule, quantiser=q)).id  # type: ignore[arg-type]
        for r, e, n, rule, q in itertools.product(
            (real, other), (extractor, pixels), (64, 65), ("random", "balanced"), datasets.OFFSETS
        )
    ]
    assert len(set(found)) == 32
    assert evaluate.make_protocol(real, extractor, Eval(batch=1)) == evaluate.make_protocol(real, extractor, Eval(batch=2))


def test_real_images_score_at_the_floor(digits: Any, tmp_path: Path) -> None:
    extractor = extractors.load("digits", shape=digits.shape)
    real = references.of_dataset(digits, extractor, tmp_path)
    again = references.of_dataset(digits, extractor, tmp_path)  # from the file
    assert real.features is not None
    assert again.features is not None
    assert torch.equal(real.features, again.features)
    assert metrics.frechet_distance(real.statistics, metrics.statistics(real.features)) == pytest.approx(0, abs=1e-9)
    floor = references.floor(real.features)
    noise = torch.randint(0, 256, (500, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert 0 < floor < 0.05 * metrics.frechet_distance(real.statistics, metrics.statistics(extractor.features(noise)))


def test_a_damaged_reference_is_made_again(digits: Any, tmp_path: Path) -> None:
    extractor = extractors.load("digits", shape=digits.shape)
    real = references.of_dataset(digits, extractor, tmp_path)
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(path.read_bytes()[:1000])
    assert torch.equal(references.of_dataset(digits, extractor, tmp_path).features, real.features)


def test_a_count_that_the_sampler_can_not_take_is_a_skipped_row(finished: Finished, digits: Any, tmp_path: Path) -> None:
    model = model_of(finished, "flow_matching")
    heun = type(model.method)(num_classes=10, sampler="heun")  # type: ignore[call-arg]
    model = dataclasses.replace(model, method=heun)
    found = scored(model, digits, Eval(samples=16, steps=(1, 2), extra_steps={}, seeds=1), tmp_path)
    by_steps = {row.steps: row for row in found if row.metric == "frechet_distance"}
    assert by_steps[1].status == "skipped"
    assert by_steps[1].value is None
    assert "multiple of 2" in by_steps[1].reason
    assert by_steps[2].status == "ok"


def test_grids_show_the_same_noises_in_every_run(finished: Finished, tmp_path: Path) -> None:
    root, runs, _ = finished
    for run in runs:
        with Image.open(root.run(run.name).samples / "steps-1.png") as image:
            assert image.size == (10 * 33 - 1, 6 * 33 - 1)
    tiles = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1).expand(6, 1, 8, 8) * 10
    (tmp_path / "grid.png").write_bytes(sample.grid(tiles, columns=4))
    with Image.open(tmp_path / "grid.png") as image:
        assert [image.getpixel((33 * c + 5, 33 * r + 5))[0] for r in (0, 1) for c in range(4)] == [  # type: ignore[index]
            0, 10, 20, 30, 40, 50, 255, 255,
        ]  # fmt: skip


def test_running_again_repeats_nothing_until_asked(finished: Finished, digits: Any) -> None:
    root, runs, suite = finished
    file = root.result_file(runs[0].name)
    before = file.read_bytes()
    said: list[str] = []
    one_run(suite, root.path, digits, say=said.append)
    assert file.read_bytes() == before
    assert len(said) == 3
    assert all("already" in line for line in said)


# What is asked for later, and what goes wrong later


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Path:
    """A root of its own with the finished runs."""
    shutil.copytree(finished[0].path, tmp_path / "copy")
    return tmp_path / "copy"


def test_another_seed_or_step_count_is_measured(copied: Path, digits: Any, finished: Finished) -> None:
    _, runs, _ = finished
    one_run(tiny_suite("eval.seed=5"), copied, digits)  # the same steps: only the seed is new
    assert 5 in set(rows.read_file(Root(copied).result_file(runs[0].name))[0]["sample_seed"])
    one_run(tiny_suite("eval.seed=5", "eval.steps=[1,2,3]"), copied, digits)
    frame, _ = rows.read_file(Root(copied).result_file(runs[0].name))
    found = frame[frame["metric"] == "frechet_distance"]
    assert set(zip(found["sample_seed"], found["steps"], strict=True)) == {(0, 1), (0, 2), (5, 1), (5, 2), (5, 3)}
    assert set(frame.loc[frame["metric"] == "latency_ms", "steps"]) == {1, 2, 3}


def test_later_measurements_keep_the_provenance_of_the_earlier(copied: Path, digits: Any, finished: Finished) -> None:
    file = Root(copied).result_file(finished[1][0].name)
    _, before = rows.read_file(file)
    one_run(tiny_suite("eval.samples=32"), copied, digits, pipeline.Stages(speed=False), started_by="typed later")
    frame, after = rows.read_file(file)
    assert after["command"] == before["command"]
    assert before["measurements"].items() <= after["measurements"].items()
    (new,) = after["measurements"].keys() - before["measurements"].keys()
    assert after["measurements"][new]["started_by"] == "typed later"
    assert "eval.samples=32" in after["measurements"][new]["command"]
    assert set(frame["protocol"]) == set(after["measurements"]) == set(after["protocols"])


@pytest.mark.parametrize(("stage", "broken"), [("evaluation", (evaluate, "evaluate")), ("speed", (run_rows, "measure_apart"))])
def test_a_failure_after_training_leaves_the_run_trained(
    copied: Path, digits: Any, finished: Finished, monkeypatch: Any, stage: str, broken: tuple[Any, str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    run = Root(copied).run(finished[1][0].name)
    monkeypatch.setattr(*broken, fail)
    with pytest.raises(RunFailed, match="out of memory"):
        one_run(tiny_suite(), copied, digits, pipeline.Stages(again=True))
    monkeypatch.undo()
    assert run.read_status()["state"] == "finished"
    frame, _ = rows.read_file(Root(copied).result_file(run.name))
    assert frame.loc[frame["status"] == "failed", "metric"].tolist() == [stage]
    said: list[str] = []
    one_run(tiny_suite(), copied, digits, pipeline.Stages(again=True), say=said.append)
    assert "is trained already" in said[0]
    assert set(rows.read_file(Root(copied).result_file(run.name))[0]["status"]) == {"ok"}


def test_images_that_are_not_finite_fail_instead_of_turning_black(finished: Finished, digits: Any, tmp_path: Path) -> None:
    model = model_of(finished, "soflow")
    with torch.no_grad():
        model.net.final_layer.linear.bias.fill_(float("nan"))
    with pytest.raises(RunFailed, match="images 0 to 7 at 1 steps are not finite"):
        images_of(model, digits, 1, samples=8, batch=8)
    found = scored(model, digits, Eval(samples=8, steps=(1,), extra_steps={}, seeds=1), tmp_path)
    assert {row.status for row in found if row.steps} == {"failed"}


def test_other_data_is_refused(copied: Path, digits: Any) -> None:
    class Other(type(digits)):  # type: ignore[misc]
        digest = "other"

    with pytest.raises(BenchError, match="was trained on other data"):
        one_run(tiny_suite(), copied, Other())
