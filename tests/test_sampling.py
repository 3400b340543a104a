"""Sampling and scoring: the same images for any batch size, exactly n of them, rows that say under what conditions."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bench import checkpoint, evaluate, extractors, metrics, pipeline, rows, sample
from bench.config import Eval, RunConfig, Suite
from bench.store import Root

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
    model, extractor = model_of(finished, "meanflow"), extractors.load("digits", shape=digits.shape)
    scores = []
    for batch in (7, 100):
        found, _ = evaluate.evaluate(model, digits, extractor, Eval(samples=100, batch=batch, steps=(1, 2)), tmp_path)
        scores.append({(row.metric, row.steps): row.value for row in found})
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
    for column in ("started_at", "device", "commit", "protocol", "precision", "attention"):
        assert frame[column].str.len().min() > 0, column


def test_every_condition_changes_the_protocol(digits: Any) -> None:
    extractor = extractors.load("digits", shape=digits.shape)
    pixels = extractors.load("pixels", shape=digits.shape)
    found = [
        evaluate.make_protocol(digits, e, Eval(samples=n, label_rule=rule)).id  # type: ignore[arg-type]
        for e, n, rule in itertools.product((extractor, pixels), (64, 65), ("random", "balanced"))
    ]
    assert len(set(found)) == 8
    assert evaluate.make_protocol(digits, extractor, Eval(batch=1)) == evaluate.make_protocol(digits, extractor, Eval(batch=2))


def test_real_images_score_at_the_floor(digits: Any, tmp_path: Path) -> None:
    extractor = extractors.load("digits", shape=digits.shape)
    real = evaluate.reference(digits, extractor, tmp_path, CPU)
    again = evaluate.reference(digits, extractor, tmp_path, CPU)  # from the file
    assert torch.equal(real.features, again.features)
    assert metrics.frechet_distance(real.statistics, metrics.statistics(real.features)) == pytest.approx(0, abs=1e-9)
    floor = evaluate.floor(real.features)
    noise = torch.randint(0, 256, (500, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert 0 < floor < 0.05 * metrics.frechet_distance(real.statistics, metrics.statistics(extractor.features(noise)))


def test_a_damaged_reference_is_made_again(digits: Any, tmp_path: Path) -> None:
    extractor = extractors.load("digits", shape=digits.shape)
    real = evaluate.reference(digits, extractor, tmp_path, CPU)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    assert torch.equal(evaluate.reference(digits, extractor, tmp_path, CPU).features, real.features)


def test_a_count_that_the_sampler_can_not_take_is_a_skipped_row(finished: Finished, digits: Any, tmp_path: Path) -> None:
    model = model_of(finished, "flow_matching")
    heun = type(model.method)(num_classes=10, sampler="heun")  # type: ignore[call-arg]
    extractor = extractors.load("digits", shape=digits.shape)
    settings = Eval(samples=16, steps=(1, 2), extra_steps={})
    found, _ = evaluate.evaluate(
        sample.Model(heun, model.net, model.config, model.shape, 10, model.images, CPU), digits, extractor, settings, tmp_path
    )
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
    pipeline.run_one(runs[0], suite, root, digits, pipeline.Stages(), pipeline.Hooks(say=said.append))
    assert file.read_bytes() == before
    assert len(said) == 3
    assert all("already" in line for line in said)
