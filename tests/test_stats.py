"""`bench stats`: what is listed, and what verifying finds that a digest does not."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adm_files import DIM, GREY, MAKING, adm
from bench import datasets, statistics_files, stats
from bench.errors import BenchError
from sources import grey_images, save_folder


def test_the_list_names_what_is_there(tmp_path: Path) -> None:
    stats.build("digits", "auto", MAKING, tmp_path)
    adm(tmp_path / "adm.npz")
    np.savez(tmp_path / "samples.npz", arr_0=np.zeros((3, 8, 8, 3), np.uint8))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    found = {Path(record["file"]).name: record for record in stats.listing([tmp_path])}
    assert set(found) == {"adm.npz", "broken.npz", "digits-digits-314b97e8-bcd6e52c.npz"}
    ours = found["digits-digits-314b97e8-bcd6e52c.npz"]
    assert (ours["kind"], ours["extractor"], ours["images"], ours["dim"], ours["fault"]) == ("ours", "digits", 1797, 64, "")
    assert (found["adm.npz"]["kind"], found["adm.npz"]["dim"], found["adm.npz"]["shape"]) == ("adm", DIM, GREY)
    assert "damaged" in found["broken.npz"]["fault"]


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The file with other arrays, and its manifest with the new digest: what a digest alone would not find."""
    with np.load(path) as held:
        arrays = {name: held[name] for name in held}
    change(arrays)
    np.savez(path, **arrays)
    manifest = statistics_files.read_manifest(path)
    beside = statistics_files.manifest_path(path)
    beside.write_text(json.dumps(manifest | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))


def shift(arrays: dict[str, Any], name: str, by: float) -> None:
    arrays[name] = arrays[name] + by


def renamed(arrays: dict[str, Any]) -> None:
    arrays["identity"] = np.array(str(arrays["identity"]).replace('"name": "digits"', '"name": "other"'))


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "mu": (lambda arrays: shift(arrays, "mu", 1e-6), "mu and sigma are not those of the features"),
    "features": (
        lambda arrays: shift(arrays, "features", np.float32(0.05)),
        "features of 50 images anew: they differ by up to 0.05",
    ),
    "cut": (lambda arrays: arrays.update(features=arrays["features"][:, :-1]), "are not finite rows of 64 numbers"),
    "NaN": (lambda arrays: shift(arrays, "sigma", np.nan), "in sigma are NaN"),
    "identity": (lambda arrays: renamed(arrays), "its identity is not the one inside"),
    "keys": (lambda arrays: arrays.update(identity=np.array('{"format": 3}')), "written in another format"),
    "format": (lambda arrays: arrays.update(identity=np.array('{"format": 1}')), "written in another format"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_verify_finds_what_a_digest_does_not(what: str, tmp_path: Path) -> None:
    path = stats.build("digits", "auto", MAKING, tmp_path, out=tmp_path / "a.npz").path
    good = stats.verify(path, MAKING, recompute=50)
    assert (len(good.checked), good.faults, good.notes) == (4, (), ())
    change, fault = TAMPERED[what]
    rewritten(path, change)
    assert [text for text in stats.verify(path, MAKING, recompute=50).faults if fault in text]


def test_verify_finds_other_bytes_and_other_images(tmp_path: Path) -> None:
    save_folder(tmp_path / "photos", grey_images(20))
    path = stats.build(str(tmp_path / "photos"), "pixels", MAKING, tmp_path, out=tmp_path / "a.npz").path
    assert stats.verify(path, MAKING, recompute=5).faults == ()
    save_folder(tmp_path / "photos", grey_images(1, seed=9), prefix="0")
    assert "are others now" in stats.verify(path, MAKING, recompute=5).faults[0]
    beside = statistics_files.manifest_path(path)
    beside.write_text(beside.read_text().replace(path_digest(path)[:20], "0" * 20))
    assert "the manifest says 000000000000" in stats.verify(path, MAKING).faults[0]
    beside.unlink()
    assert "no manifest a.json" in stats.verify(path, MAKING).notes[0]


def path_digest(path: Path) -> str:
    return str(statistics_files.read_manifest(path)["sha256"])


def test_statistics_are_not_built_of_a_file_of_statistics(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="holds statistics already"):
        stats.build(str(adm(tmp_path / "adm.npz")), "pixels", MAKING, tmp_path)
    with pytest.raises(BenchError, match=f"{tmp_path}/x' does not exist. Allowed: .*digits"):
        stats.build(str(tmp_path / "x"), "pixels", MAKING, tmp_path)
    with pytest.raises(BenchError, match=r"--out .*ends in .npz"):
        stats.build("digits", "pixels", MAKING, tmp_path, out=tmp_path / "x.pt")


def test_every_data_set_has_pixels_and_options_for_the_manifest(tmp_path: Path) -> None:
    making = stats.Making(device="cpu", dataset_options={"gaussian": {"train_images": 300, "channels": 3}})
    built = stats.build("gaussian", "auto", making, tmp_path)
    assert built.manifest["source"]["options"]["train_images"] == 300
    assert built.manifest["identity"]["shape"] == list(datasets.pixel_shape(datasets.load("gaussian", channels=3)))
    assert stats.verify(built.path, stats.Making(device="cpu"), recompute=300).faults == ()
