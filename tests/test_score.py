"""Scores of images from files: the same as of the same images in-stream, whatever their names; all of it traceable."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import checkpoint, datasets, extractors, images, intervals, metrics, sample, score, stats
from bench.config import Eval
from bench.errors import BenchError
from bench.score import Scored, Ways
from conftest import scored as evaluated
from sources import blobs, grey_images, save_folder

WAYS = Ways(device="cpu")


def scored(a: Path, b: Path | str, folder: Path, **ways: Any) -> Scored:
    return score.score(str(a), str(b), dataclasses.replace(WAYS, **ways), folder / "refs", command="bench score a b")


def values(found: Scored, protocol: int = 0) -> dict[str, float]:
    return {s.metric: s.value for s in found.judged[protocol].scores}


def save_npz(path: Path, found: torch.Tensor, **other: Any) -> Path:
    np.savez(path, arr_0=found.permute(0, 2, 3, 1).numpy(), **other)
    return path


# The same numbers


@pytest.fixture(scope="module")
def generated(finished: Any, digits: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    """100 samples of a model: what evaluation says of them, themselves with their labels, and a folder of its references."""
    root, runs, _ = finished
    path = root.run(runs[0].name).newest_snapshot()
    model = sample.load_model(checkpoint.load_snapshot(path), torch.device("cpu"))
    settings = Eval(samples=100, batch=100, steps=(1,), seeds=1)
    folder = tmp_path_factory.mktemp("refs")
    rows = {row.metric: row for row in evaluated(model, digits, settings, folder)}
    (batch,) = sample.generate(model, digits, sample.Request(samples=100, batch=100), 1)
    return rows, batch, folder


def test_a_folder_scores_as_evaluation_did(generated: Any, tmp_path: Path) -> None:
    rows, batch, _ = generated
    found = scored(save_folder(tmp_path / "samples", batch.images), "digits", tmp_path)
    assert values(found)["frechet_distance"] == pytest.approx(rows["frechet_distance"].value, rel=1e-9)
    assert found.judged[0].remarks[-1] == "class_accuracy is left out: samples has no labels"


def test_an_array_in_its_order_has_every_score_of_evaluation(generated: Any, tmp_path: Path) -> None:
    rows, batch, _ = generated
    path = save_npz(tmp_path / "samples.npz", batch.images, arr_1=batch.label.numpy())
    found = scored(path, "digits", tmp_path, order="stored")
    assert {s.metric for s in found.judged[0].scores} == set(rows) - {"frechet_distance_floor"}
    for s in found.judged[0].scores:
        if s.metric == "frechet_distance_infinite":
            continue  # of other groups: here they are dealt out, for an array may be sorted
        assert s.value == pytest.approx(rows[s.metric].value, rel=1e-9), s.metric
        if s.resampling == "blocks":
            assert s.standard_error == pytest.approx(rows[s.metric].standard_error, rel=1e-9), s.metric
        elif s.standard_error is not None:
            assert 0.4 < s.standard_error / rows[s.metric].standard_error < 2.5, s.metric
    assert "class_accuracy" in values(found)


@pytest.mark.parametrize("wrong", [-1, 10])
def test_labels_that_are_no_classes_are_refused(wrong: int, tmp_path: Path) -> None:
    path = save_npz(tmp_path / "a.npz", grey_images(80), arr_1=np.array([3] * 79 + [wrong]))
    with pytest.raises(BenchError, match=f"{wrong}.* and extractor digits knows 10 classes") as caught:
        scored(path, "digits", tmp_path, metrics=("class_accuracy",))
    assert caught.value.allowed == "labels from 0 to 9"


@pytest.mark.parametrize("n", [40, 150])  # fewer and more than the 64 dimensions
def test_images_are_at_no_distance_of_themselves(n: int, tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "a", found := grey_images(n))
    array = save_npz(tmp_path / "a.npz", found)
    for a, b in ((folder, folder), (folder, array), (array, folder)):
        both = scored(a, b, tmp_path, protocols=("digits", "pixels"), metrics=("frechet_distance",))
        for protocol in (0, 1):
            assert values(both, protocol)["frechet_distance"] == pytest.approx(0, abs=1e-5)
    assert "a and a are the same files" in scored(folder, folder, tmp_path, protocols=("digits",)).remarks


def test_names_do_not_matter(tmp_path: Path) -> None:
    found = grey_images(150)
    a = save_folder(tmp_path / "a", found)
    b = save_folder(tmp_path / "b", found.flip(0), prefix="another")
    one, two = (values(scored(path, "digits", tmp_path, metrics=("frechet_distance",))) for path in (a, b))
    assert one["frechet_distance"] == pytest.approx(two["frechet_distance"], rel=1e-9)
    moved = values(scored((tmp_path / "a").rename(tmp_path / "c"), "digits", tmp_path))
    assert moved["frechet_distance"] == one["frechet_distance"]


def test_batches_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_npz(tmp_path / "a.npz", grey_images(150))
    expected = scored(path, "digits", tmp_path)
    monkeypatch.setattr(images, "BATCH", 7)
    for score_of, other in zip(expected.judged[0].scores, scored(path, "digits", tmp_path).judged[0].scores, strict=True):
        assert score_of.value == pytest.approx(other.value, rel=1e-5)  # float32 features of other batches


def test_both_ways_are_the_same_distance(tmp_path: Path) -> None:
    a, b = (save_folder(tmp_path / name, grey_images(150, seed)) for seed, name in enumerate("ab"))
    there, back = (values(scored(x, y, tmp_path, protocols=("digits",))) for x, y in ((a, b), (b, a)))
    assert there["frechet_distance"] == pytest.approx(back["frechet_distance"], rel=1e-9)
    assert there["kernel_distance"] == pytest.approx(back["kernel_distance"], abs=0.05)  # other images meet in the blocks


def test_n_images_are_the_first_in_their_order(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "a.npz", grey_images(150))
    batches = list(images.open_source(path).batches(90))
    first = torch.cat([batch[1] for batch in batches])
    expected = scored(save_npz(tmp_path / "b.npz", first), "digits", tmp_path, metrics=("frechet_distance",))
    found = scored(path, "digits", tmp_path, metrics=("frechet_distance",), n=90)
    assert (found.n, expected.n) == (90, 90)
    assert values(found)["frechet_distance"] == pytest.approx(values(expected)["frechet_distance"], rel=1e-9)


# References


def test_a_file_of_statistics_is_as_good_as_its_images(tmp_path: Path) -> None:
    a = save_folder(tmp_path / "a", grey_images(100))
    built = stats.build("digits", "auto", stats.Making(device="cpu"), tmp_path, out=tmp_path / "ref.npz")
    one, two = (scored(a, b, tmp_path, protocols=("digits",)) for b in ("digits", built.path))
    assert values(one) == values(two)
    assert [f.judged[0].protocol.conditions.get("reference_kind") for f in (one, two)] == [None, "ours"]


def test_adm_s_files_give_frechet_distances_by_mu_and_the_rest_by_arr_0(tmp_path: Path) -> None:
    a, real, other = (grey_images(100, seed) for seed in (0, 1, 2))
    pixels = extractors.load("pixels", (1, 8, 8))
    held = torch.cat([real, other])
    found = metrics.statistics(pixels.features(held))
    path = save_npz(tmp_path / "adm.npz", real, mu=found.mean.numpy(), sigma=found.covariance.numpy())
    a_path = save_npz(tmp_path / "a.npz", a)
    adm = scored(a_path, path, tmp_path, protocols=("pixels",))
    whole, part = (
        scored(a_path, save_npz(tmp_path / f"{i}.npz", images), tmp_path, protocols=("pixels",))
        for i, images in enumerate((held, real))
    )
    assert values(adm)["frechet_distance"] == pytest.approx(values(whole)["frechet_distance"], rel=1e-9)
    assert values(adm)["kernel_distance"] == pytest.approx(values(part)["kernel_distance"], rel=1e-9)
    assert values(adm)["frechet_distance"] != pytest.approx(values(part)["frechet_distance"], rel=1e-3)
    assert adm.judged[0].protocol.conditions["reference_kind"] == "adm"
    assert any("kernel distances, precision and recall its arr_0" in remark for remark in adm.remarks)


def test_another_resolution_is_said_and_in_the_protocol(tmp_path: Path) -> None:
    small, large = (save_npz(tmp_path / f"{side}.npz", blobs(100, 3, side=side)) for side in (8, 16))
    found = scored(large, small, tmp_path, protocols=("pixels",))
    conditions = found.judged[0].protocol.conditions
    assert (conditions["samples_shape"], conditions["reference_shape"]) == ([3, 16, 16], [3, 8, 8])
    assert any("3x16x16" in remark and "part of the distance is the resolution" in remark for remark in found.remarks)
    tiny = save_npz(tmp_path / "4.npz", blobs(100, 3, side=4))
    with pytest.raises(BenchError, match=r"pixels on images of 3x8x8 .* and of 3x4x4 .* do not compare"):
        scored(small, tiny, tmp_path, protocols=("pixels",))
    with pytest.raises(BenchError, match="Extractor digits on images of 1x16x16"):
        scored(save_npz(tmp_path / "g.npz", grey_images(99, side=16)), "digits", tmp_path)


def test_grey_and_colour(tmp_path: Path) -> None:
    """Grey becomes colour on either side; colours never become grey, unless there are none."""
    grey, colour = grey_images(100), blobs(100, 3, seed=1)
    paths = [save_npz(tmp_path / f"{name}.npz", found) for name, found in (("g", grey), ("c", colour))]
    fake = save_npz(tmp_path / "f.npz", grey.expand(-1, 3, -1, -1))
    for a, b in (paths, paths[::-1]):
        found = scored(a, b, tmp_path, protocols=("pixels",), metrics=("frechet_distance",))
        other = {paths[0]: fake, paths[1]: paths[1]}
        expected = scored(other[a], other[b], tmp_path, protocols=("pixels",), metrics=("frechet_distance",))
        assert values(found) == pytest.approx(values(expected), rel=1e-9)
        assert "g: grey, taken three times over" in found.remarks
    assert values(scored(fake, "digits", tmp_path)) == values(scored(paths[0], "digits", tmp_path))
    with pytest.raises(BenchError, match=r"c\.npz have colours"):
        scored(paths[1], "digits", tmp_path)


# What is said and kept


def test_protocols_stand_side_by_side_and_everything_can_be_traced(tmp_path: Path) -> None:
    a = save_folder(tmp_path / "a", grey_images(100))
    found = scored(a, "digits", tmp_path, protocols=("auto", "pixels", "digits"))
    ids = [judged.protocol.id for judged in found.judged]
    assert [name.rsplit("-", 1)[0] for name in ids] == ["digits-n100", "pixels-n100"]
    head, names, *table = score.lines(found)
    assert head.startswith(f"100 images of {a} against digits")
    assert names.split() == ids
    line = next(line for line in table if line.startswith("frechet_distance ↓"))
    first = found.judged[0].scores[0]
    assert f"{first.value:.5g} (se {first.standard_error:.2g})" in line
    score.write(found, tmp_path / "scores.json")
    kept = json.loads((tmp_path / "scores.json").read_text())
    assert kept["samples"]["digest"] == images.open_source(a).digest
    assert kept["command"] == "bench score a b"
    assert kept["versions"]["torch"] == torch.__version__.split("+")[0]
    for id in ids:
        assert kept["protocols"][id]["samples"] == 100
        assert kept["references"][id]["digest"] == datasets.load("digits").digest
    for record in kept["scores"]:
        expected = intervals.standard_error(record["replicates"], record["resampling"])
        assert record["standard_error"] == expected
    assert [record["metric"] for record in kept["scores"]].count("frechet_distance") == 2
    assert all(remark in kept["remarks"] for remark in score.all_remarks(found))


def test_what_moves_a_score_moves_the_protocol(tmp_path: Path) -> None:
    a, b = (save_npz(tmp_path / f"{seed}.npz", grey_images(100, seed)) for seed in (0, 1))
    other = save_npz(tmp_path / "2.npz", grey_images(100, 2))
    ways: list[tuple[Path, Path, dict[str, Any]]] = [(a, b, {}), (a, other, {}), (a, b, {"n": 90}), (a, b, {"order": "stored"})]
    ids = [scored(x, y, tmp_path, protocols=("pixels",), **w).judged[0].protocol.id for x, y, w in ways]
    assert len(set(ids)) == 4
    assert scored(other, b, tmp_path, protocols=("pixels",)).judged[0].protocol.id == ids[0], "other samples are no protocol"


BAD: dict[str, tuple[tuple[str, str], dict[str, Any], str, str]] = {
    "too few": (("a.npz", "digits"), {"n": 101}, "101 images asked of .*a.npz, which holds 100", "fewer"),
    "one": (("a.npz", "digits"), {"n": 1}, "1 images asked", "fewer"),
    "no samples": (("x", "digits"), {}, "x does not exist", "Correct the path"),
    "no reference": (("a.npz", "x"), {}, "x' does not exist", "Correct"),
    "typo": (("a.npz", "digit"), {}, "digit' does not exist. Allowed: .*digits", "name"),
    "no extractor": (("a.npz", "digits"), {"protocols": ("fid",)}, "Unknown extractor 'fid'", "bench list"),
    "no metric": (("a.npz", "digits"), {"metrics": ("recall",)}, "Metric 'recall' with extractor digits", "eval.metrics"),
    "no labels": (("a.npz", "digits"), {"metrics": ("class_accuracy",)}, "a.npz has no labels", "Leave"),
    "option": (("a.npz", "digits"), {"extractor_options": {"digits": {"size": 3}}}, "Unknown option 'size'", "Correct"),
    "dimension": (("a.npz", "two.npz"), {"protocols": ("pixels",)}, r"mu has the shape \(9,\)", "made with it"),
    "statistics": (("two.npz", "digits"), {}, "holds statistics and no images", "savez"),
    "no device": (("a.npz", "digits"), {"device": "cuda:99"}, "device cuda:99", "cpu"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_npz(tmp_path / "a.npz", grey_images(100))
    np.savez(tmp_path / "two.npz", mu=np.zeros(9), sigma=np.eye(9))
    (a, b), ways, given, remedy = BAD[what]
    with pytest.raises(BenchError, match=given) as caught:
        score.score(a, b, dataclasses.replace(WAYS, **ways), tmp_path / "refs")
    assert remedy in caught.value.remedy
    assert all(len(part) > 2 for part in caught.value.args)
