"""Files of statistics that can not be used are refused in three parts, and ours are written whole or not at all."""

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adm_files import DIM, MAKING, Eyes, adm, covariance, of_file, spoil
from bench import npz, stats
from bench.errors import BenchError, RunFailed

# Bad files


def with_value(array: np.ndarray[Any, Any], place: Any, value: float) -> np.ndarray[Any, Any]:
    array = np.array(array, dtype=np.float64)
    array[place] = value
    return array


def objects(count: int) -> np.ndarray[Any, Any]:
    return np.array([Trap()] * count, dtype=object)


class Trap:
    def __reduce__(self) -> Any:
        return os.abort, ()


SIGMA = covariance(DIM)
BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"mu": with_value(np.zeros(DIM), 3, np.nan)}, "1 of the 64 numbers in mu are NaN or infinite"),
    "infinite": ({"sigma": with_value(SIGMA, (2, 2), np.inf)}, "in sigma are NaN or infinite"),
    "not symmetric": ({"sigma": with_value(SIGMA, (0, 1), 5.0)}, "sigma is not symmetric"),
    "negative": ({"sigma": SIGMA - np.eye(DIM)}, "sigma has negative eigenvalues"),
    "negative spatial": ({"sigma_s": -covariance(10)}, "sigma_s has negative eigenvalues"),
    "before the ReLU": ({"mu_s": with_value(np.ones(10), 1, -0.5)}, "mu_s goes down to -0.5"),
    "no sigma": ({"sigma": None}, "and no sigma"),
    "no sigma_s": ({"sigma_s": None}, "and no sigma_s"),
    "neither": ({"sigma": None, "mu": None, "arr_0": None}, "and no mu"),
    "flat sigma": ({"sigma": SIGMA[:5]}, r"sigma has the shape \(5, 64\)"),
    "another dimension": ({"mu": np.zeros(9), "sigma": covariance(9)}, r"mu has the shape \(9,\)"),
    "another spatial dimension": ({"mu_s": np.ones(9), "sigma_s": covariance(9)}, r"mu_s has the shape \(9,\)"),
    "text": ({"mu": np.array(["a"] * DIM)}, "mu has the type <U1"),
    "no number": ({"n": np.array(-1)}, "n is no number of images"),
    "objects": ({"mu": objects(DIM)}, "array mu holds Python objects: pickled content"),
    "float images": ({"mu": None, "sigma": None, "arr_0": np.zeros((9, 8, 8, 3))}, "arr_0 has the type float64"),
}


def is_refused(path: Path, folder: Path, given: str) -> BenchError:
    with pytest.raises(BenchError, match=given) as caught:
        of_file(path, Eyes(), folder)
    assert all(len(part) > 5 for part in caught.value.args)
    assert str(path.name) in caught.value.given
    return caught.value


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_bad_arrays_are_refused(what: str, tmp_path: Path) -> None:
    arrays, given = BAD_ARRAYS[what]
    is_refused(adm(tmp_path / "adm.npz", **arrays), tmp_path, given)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-300]), "is damaged or cut short"),
    "a flipped byte": (lambda path: spoil(path, "sigma"), "array sigma, is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("mu, sigma"), "is no .npz file"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(Trap())), "pickled content, and reading it runs whatever code"),
    "a single array": (lambda path: np.save(path.open("wb"), np.zeros(3)), "is a single array"),
}


@pytest.mark.parametrize("what", BAD_FILES)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the test's own
def test_bad_files_are_refused(what: str, tmp_path: Path) -> None:
    spoil_file, given = BAD_FILES[what]
    path = adm(tmp_path / "adm.npz")
    spoil_file(path)
    is_refused(path, tmp_path, given)


def test_pkl_files_are_refused_and_others_named(tmp_path: Path) -> None:
    path = tmp_path / "img512.pkl"
    path.write_bytes(pickle.dumps(Trap()))
    assert "fid-refs" in is_refused(path, tmp_path, "reading it runs whatever code").remedy


def test_columns_first_are_read_as_they_are(tmp_path: Path) -> None:
    expected = np.arange(6.0).reshape(2, 3)
    np.savez(tmp_path / "a.npz", x=np.asfortranarray(expected), y=expected)
    assert np.array_equal(npz.array(tmp_path / "a.npz", "x"), expected)
    assert np.array_equal(npz.array(tmp_path / "a.npz", "y"), expected)


# Whole or not at all


def test_an_interrupted_write_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = stats.build("digits", "auto", MAKING, tmp_path, out=tmp_path / "a.npz")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for out in (built.path, tmp_path / "b.npz"):
        with pytest.raises(RunFailed, match="disk is full"):
            stats.build("digits", "pixels", MAKING, tmp_path, out=out)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_is_there_has_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, calls = os.replace, []

    def killed_at_the_second(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        stats.build("digits", "auto", MAKING, tmp_path)
    monkeypatch.undo()
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
    built = stats.build("digits", "auto", MAKING, tmp_path)
    built.path.with_suffix(".json").unlink()
    assert stats.build("digits", "auto", MAKING, tmp_path).manifest["sha256"] == built.manifest["sha256"]
