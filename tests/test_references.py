"""What samples are compared with: of images, from files of ours and of others, the same over two processes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor

from adm_files import DIM, GREY, MAKING, Counting, Eyes, adm, of_file, spoil
from bench import evaluate, extractors, images, metrics, real_images, references, score, scores, stats
from bench.config import Eval
from bench.errors import BenchError
from sources import grey_images, save_folder


@pytest.fixture(scope="module")
def pixels() -> Any:
    return extractors.load("pixels", GREY)


# Of images


def test_statistics_of_a_folder_are_those_of_its_features(tmp_path: Path, pixels: Any) -> None:
    found = grey_images(150)
    save_folder(tmp_path / "photos", found)
    built = stats.build(str(tmp_path / "photos"), "pixels", MAKING, tmp_path / "refs", command="bench stats build photos")
    expected = metrics.statistics(pixels.features(found))
    real = of_file(built.path, pixels, tmp_path)
    assert real.images == real.statistics.n == 150
    torch.testing.assert_close(real.statistics.mean, expected.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(real.statistics.covariance, expected.covariance, rtol=1e-10, atol=1e-14)
    assert real.features is not None
    assert torch.equal(real.features.sort(0).values, pixels.features(found).sort(0).values)
    manifest = json.loads(built.path.with_suffix(".json").read_text())
    assert manifest["command"] == "bench stats build photos"
    assert manifest["source"]["path"] == str(tmp_path / "photos")
    assert manifest["versions"]["torch"] == torch.__version__.split("+")[0]
    assert manifest["identity"]["extractor_digest"] == pixels.digest
    assert (manifest["identity"]["quantiser"], manifest["identity"]["shape"]) == ("as stored", [1, 8, 8])


def test_building_again_makes_the_same_bytes(tmp_path: Path) -> None:
    one, two = (stats.build("digits", "auto", MAKING, tmp_path, out=tmp_path / f"{i}.npz") for i in (1, 2))
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.manifest["sha256"] == two.manifest["sha256"]


def test_one_format(tmp_path: Path, digits: Any) -> None:
    """What evaluation keeps in refs/ is what `bench stats build` writes, and is not computed again."""
    extractor = extractors.load("digits", GREY)
    references.of_dataset(digits, extractor, tmp_path)
    (path,) = tmp_path.glob("*.npz")
    before = path.stat().st_mtime_ns
    built = stats.build("digits", "auto", MAKING, tmp_path)
    assert (built.path, path.stat().st_mtime_ns) == (path, before)
    assert stats.verify(path, MAKING, recompute=20).faults == ()
    real, again = references.of_dataset(digits, extractor, tmp_path), of_file(path, extractor, tmp_path)
    assert torch.equal(real.statistics.covariance, again.statistics.covariance)
    assert torch.equal(real.features, again.features)  # type: ignore[arg-type]
    assert (real.kind, again.kind) == ("data", "ours")


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    real, found = measured(Path(folder))
    built = stats.build(f"{folder}/photos", "pixels", MAKING, Path(folder) / "refs")
    assert built.manifest["processes"] == 2, "there for both, once `build` is done"
    torch.save({"seen": real.seen, "scores": two_folders(Path(folder)), **found}, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def measured(folder: Path) -> tuple[Counting, dict[str, Tensor]]:
    eyes = Counting()
    real = real_images.images_of_source(images.open_source(folder / "photos"))
    found = real_images.measure(real, eyes)
    assert found.spatial is not None
    assert found.features is not None
    parts = {"mean": found.statistics.mean, "covariance": found.statistics.covariance, "spatial": found.spatial.covariance}
    return eyes, parts | {"features": found.features}


def two_folders(folder: Path) -> list[float]:
    """Scores of one folder against the other, each after its replicates."""
    ways = score.Ways(protocols=("pixels",), device="cpu")
    found = score.score(str(folder / "photos"), str(folder / "others"), ways, folder / "refs")
    return [value for s in found.judged[0].scores for value in (*s.replicates, s.value)]


def test_two_processes_have_the_statistics_and_scores_of_one(tmp_path: Path) -> None:
    save_folder(tmp_path / "photos", grey_images(31))
    save_folder(tmp_path / "others", grey_images(99, seed=1))
    one, expected = measured(tmp_path)
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert sorted(part["seen"] for part in found) == [15, 16]
    assert one.seen == 31
    shutil.rmtree(tmp_path / "refs")
    scores_of_one = two_folders(tmp_path)
    for part in found:
        assert part["scores"] == pytest.approx(scores_of_one, rel=1e-9)
        assert torch.equal(part["features"], expected["features"])
        for name in ("mean", "covariance", "spatial"):
            torch.testing.assert_close(part[name], expected[name], rtol=1e-12, atol=1e-14)


# Files of others


def test_adm_s_mu_and_sigma_are_used_and_arr_0_only_for_features(tmp_path: Path) -> None:
    path, eyes = adm(tmp_path / "adm.npz"), Counting()
    real = of_file(path, eyes, tmp_path / "refs")
    held = np.load(path)
    assert torch.equal(real.statistics.mean, torch.from_numpy(held["mu"]))
    assert torch.equal(real.statistics.covariance, torch.from_numpy(held["sigma"]))
    assert real.spatial is not None
    assert torch.equal(real.spatial.covariance, torch.from_numpy(held["sigma_s"]))
    assert (real.kind, real.images, real.shape, real.name) == ("adm", None, GREY, "adm")
    assert eyes.seen == 0
    assert real.features is not None
    assert eyes.seen == 30
    expected = Eyes().features(torch.from_numpy(held["arr_0"]).permute(0, 3, 1, 2))
    assert torch.equal(real.features.sort(0).values, expected.sort(0).values)
    held.close()
    assert of_file(path, eyes, tmp_path / "refs").features is not None
    assert eyes.seen == 30, "kept in refs/"


def test_a_damaged_arr_0_matters_when_it_is_asked_for(tmp_path: Path) -> None:
    path = spoil(adm(tmp_path / "adm.npz"), "arr_0")
    eyes = Eyes()
    real = of_file(path, eyes, tmp_path)
    chosen, _ = scores.choose(("frechet_distance", "spatial_frechet_distance"), eyes, real, 100)
    assert chosen == ("frechet_distance", "spatial_frechet_distance")
    with pytest.raises(BenchError, match="array arr_0, is damaged or cut short"):
        scores.choose(("precision",), eyes, real, 100)
    assert [text for text in stats.verify(path, MAKING).faults if "arr_0" in text]


def test_two_keys_give_frechet_distances_alone(tmp_path: Path) -> None:
    path = adm(tmp_path / "two.npz", arr_0=None, mu_s=None, sigma_s=None)
    eyes = Eyes()
    real = of_file(path, eyes, tmp_path)
    assert (real.kind, real.features, real.spatial, real.shape) == ("two-key", None, None, None)
    chosen, remarks = scores.choose(("auto",), eyes, real, 1000)
    assert chosen == ("frechet_distance",)
    assert len([remark for remark in remarks if "left out" in remark]) == 3


def test_without_mu_the_statistics_are_those_of_arr_0(tmp_path: Path, pixels: Any) -> None:
    path = adm(tmp_path / "arr.npz", mu=None, sigma=None, mu_s=None, sigma_s=None)
    real = of_file(path, pixels, tmp_path / "refs")
    expected = metrics.statistics(pixels.features(grey_images(30, seed=5)))
    torch.testing.assert_close(real.statistics.covariance, expected.covariance, rtol=1e-10, atol=1e-14)
    assert (real.images, real.conditions) == (30, {"reference_kind": "images"})


@pytest.mark.parametrize("change", [np.float32, np.asfortranarray])
def test_single_precision_and_columns_first_are_taken(tmp_path: Path, change: Any) -> None:
    low_rank = np.random.default_rng(0).normal(size=(DIM, 20))
    sigma = low_rank @ low_rank.T  # 44 eigenvalues are 0, and below it in float32
    sigma = change(sigma + np.eye(DIM) * 1e-12 if change is np.asfortranarray else sigma)
    real = of_file(adm(tmp_path / "adm.npz", sigma=sigma, mu=np.zeros(DIM, np.float32)), Eyes(), tmp_path)
    assert real.statistics.covariance.dtype == real.statistics.mean.dtype == torch.float64
    assert torch.equal(real.statistics.covariance, torch.from_numpy(sigma.astype(np.float64)))


# What a file says of itself


def test_a_file_of_another_extractor_or_protocol_is_refused(tmp_path: Path, pixels: Any) -> None:
    path = stats.build("digits", "digits", MAKING, tmp_path).path
    with pytest.raises(BenchError, match=r"was made with extractor digits. Allowed: pixels, as now"):
        of_file(path, pixels, tmp_path)

    class Resizing(type(pixels)):  # type: ignore[misc]
        conditions = {"resize": "bilinear"}  # noqa: RUF012

    other = stats.build("digits", "pixels", MAKING, tmp_path).path
    with pytest.raises(BenchError, match=r"was made with conditions \{\}"):
        of_file(other, Resizing(GREY), tmp_path)
    Resizing.conditions, Resizing.digest = {}, "f" * 64
    with pytest.raises(BenchError, match="was made with extractor digest"):
        of_file(other, Resizing(GREY), tmp_path)


def test_a_file_that_lost_its_identity_is_known_by_its_manifest(tmp_path: Path, pixels: Any) -> None:
    built = stats.build("digits", "digits", MAKING, tmp_path)
    with np.load(built.path) as held:
        arrays = {name: held[name] for name in held if name != "identity"}
    np.savez(built.path, **arrays)
    with pytest.raises(BenchError, match="was made with extractor digits"):
        of_file(built.path, pixels, tmp_path)
    with pytest.raises(BenchError, match="its manifest says"):
        of_file(built.path, extractors.load("digits", GREY), tmp_path)
    built.path.with_suffix(".json").unlink()
    assert of_file(built.path, pixels, tmp_path).kind == "two-key"  # on its user's word


def test_images_of_another_size_are_refused(tmp_path: Path, digits: Any, pixels: Any) -> None:
    save_folder(tmp_path / "large", grey_images(20, side=16))
    large = stats.build(str(tmp_path / "large"), "pixels", MAKING, tmp_path).path
    colour = adm(tmp_path / "adm.npz", arr_0=np.zeros((5, 8, 8, 3), np.uint8))
    for path, size in ((tmp_path / "large", "1x16x16"), (large, "1x16x16"), (colour, "3x8x8")):
        for refuse in (references.load, references.check):
            with pytest.raises(BenchError, match=f"is of images of {size}.*Allowed: 1x8x8.*, as digits has them"):
                refuse(str(path), digits, pixels, tmp_path)


def test_evaluation_compares_with_the_file_it_is_given(tmp_path: Path, digits: Any, pixels: Any) -> None:
    path = adm(tmp_path / "adm.npz")
    own = stats.build("digits", "pixels", MAKING, tmp_path, out=tmp_path / "own.npz").path
    settings = [Eval(samples=100, metrics=("frechet_distance",), reference=str(r)) for r in ("data", own, path)]
    judges = [evaluate.make_judges(digits, [pixels], s, tmp_path / "refs")[0] for s in settings]
    assert [judge.reference.kind for judge in judges] == ["data", "ours", "adm"]
    assert len({judge.protocol.id for judge in judges}) == 3
    assert torch.equal(judges[0].reference.statistics.covariance, judges[1].reference.statistics.covariance)
    assert judges[2].reference.images is None


@pytest.mark.parametrize("missing", ["nowhere.npz", "img.png", "dta"])
def test_a_path_that_is_not_there(missing: str, tmp_path: Path, digits: Any, pixels: Any) -> None:
    with pytest.raises(BenchError, match=r"eval.reference = .*Allowed: data, or a file of statistics"):
        references.load(str(tmp_path / missing), digits, pixels, tmp_path)
