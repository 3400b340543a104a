"""Images that the suite did not make: each is seen once, in an order that is fixed; nothing is converted in silence."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench import images
from bench.errors import BenchError
from bench.images import Source, open_source
from sources import blobs, grey_images, save_folder

NDArray = np.ndarray[Any, Any]


def all_of(source: Source, n: int | None = None, part: int = 0, parts: int = 1) -> tuple[Tensor, Tensor]:
    """Numbers and images, in the order of the numbers."""
    batches = list(source.batches(source.count if n is None else n, part, parts))
    number = torch.cat([batch[0] for batch in batches])
    return number.sort().values, torch.cat([batch[1] for batch in batches])[number.argsort()]


def save_npz(path: Path, found: Tensor, **other: Any) -> Path:
    np.savez(path, arr_0=found.permute(0, 2, 3, 1).numpy(), **other)
    return path


@pytest.fixture(params=["folder", "npz", "compressed"])
def source(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Source, Tensor]:
    """The same 250 colour images, and these in the order in which they lie."""
    monkeypatch.setattr(images, "BATCH", 16)
    found = blobs(250, 3)
    if request.param == "folder":
        source = open_source(save_folder(tmp_path / "photos", found))
        return source, torch.cat([found[i::3] for i in range(3)])  # by name: folder by folder
    save: Any = np.savez if request.param == "npz" else np.savez_compressed
    save(tmp_path / "photos.npz", arr_0=found.permute(0, 2, 3, 1).numpy())
    return open_source(tmp_path / "photos.npz"), found


def test_every_image_has_its_number(source: tuple[Source, Tensor]) -> None:
    opened, expected = source
    assert (opened.count, opened.shape, opened.remarks, opened.name) == (250, (3, 8, 8), (), "photos")
    order = torch.randperm(250, generator=torch.Generator().manual_seed(images.rng.derive(0, "order")))
    number, found = all_of(opened)
    assert torch.equal(number, torch.arange(250))
    assert torch.equal(found, expected[order])


@pytest.mark.parametrize("n", [2, 100, 250])
@pytest.mark.parametrize("parts", [1, 3, 300])
def test_processes_share_the_first_n(source: tuple[Source, Tensor], n: int, parts: int) -> None:
    opened, _ = source
    _, expected = all_of(opened)
    shares = [all_of(opened, n, part, parts) for part in range(min(n, parts))]
    number = torch.cat([share[0] for share in shares])
    assert torch.equal(number.sort().values, torch.arange(n))
    assert torch.equal(torch.cat([share[1] for share in shares])[number.argsort()], expected[:n])
    assert max(len(share[0]) for share in shares) - min(len(share[0]) for share in shares) <= 1
    assert list(opened.batches(n, n, n + 1)) == [], "a process without images"


def test_consecutive_numbers_hold_all_folders(tmp_path: Path) -> None:
    """Leaving out a tenth of them must not leave out a class."""
    levels = torch.arange(3, dtype=torch.uint8).repeat(100)[:, None, None, None].expand(-1, 1, 4, 4)
    _, found = all_of(open_source(save_folder(tmp_path / "photos", levels)))  # folder i holds level i
    for group in found[:, 0, 0, 0].split(30):
        assert group.bincount(minlength=3).min() >= 3


def test_the_order_of_an_array_can_be_kept(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "a.npz", found := blobs(60, 3), arr_1=np.arange(60) % 7)
    kept = open_source(path, "stored")
    assert torch.equal(all_of(kept)[1], found)
    assert torch.equal(torch.cat([batch[2] for batch in kept.batches(60)]), torch.arange(60) % 7)  # type: ignore[misc]
    for number, _, label in open_source(path).batches(60):
        order = torch.randperm(60, generator=images.rng.generator(0, "order"))
        assert torch.equal(label, order[number] % 7)  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="Unknown order 'store'"):
        open_source(path, "store")


def test_the_digest_is_of_the_bytes_in_their_order(tmp_path: Path) -> None:
    one, two, three, four = (save_folder(tmp_path / name, grey_images(9)) for name in "abcd")
    assert len({open_source(path).digest for path in (one, two, three, four)}) == 1
    (two / "0" / "0000.png").rename(two / "0" / "0009.png")  # now the third
    Image.new("L", (8, 8)).save(three / "0" / "0000.png")
    (four / "0").rename(four / "00")
    digests = [open_source(path).digest for path in (one, two, three, four)]
    assert len(set(digests)) == 3
    assert digests[0] == digests[3]


# What is converted


def test_grey_folders_stay_grey_and_mixed_ones_become_colour(tmp_path: Path) -> None:
    grey = save_folder(tmp_path / "grey", grey_images(9))
    assert open_source(grey).shape == (1, 8, 8)
    assert open_source(grey).remarks == ()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(grey / "z.png")
    mixed = open_source(grey)
    assert mixed.shape == (3, 8, 8)
    assert mixed.remarks == ("grey: 9 of 10 images, such as 0/0000.png, are grey, taken three times over",)
    _, found = all_of(mixed)
    assert sorted((image[0] == image[1]).all().item() for image in found) == [False] + [True] * 9


def test_alpha_is_laid_over_white_and_said(tmp_path: Path) -> None:
    for i in range(3):
        Image.new("RGBA", (4, 4), (255, 0, 0, 0 if i == 1 else 255)).save(tmp_path / f"{i}.png")
    opened = open_source(tmp_path)
    assert opened.remarks == (f"{tmp_path.name}: 3 of 3 images, such as 0.png, are transparent: laid over white",)
    _, found = all_of(opened)
    assert sorted(image[:, 0, 0].tolist() for image in found) == [[255, 0, 0], [255, 0, 0], [255, 255, 255]]


def test_sixteen_bits_keep_the_high_byte_and_it_is_said(tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(np.full((4, 4), 0x1280 + i, np.uint16)).save(tmp_path / f"{i}.png")
    opened = open_source(tmp_path)
    assert "2 of 2 images, such as 0.png, are 16-bit: the high byte is kept" in opened.remarks[0]
    assert all_of(opened)[1].unique().tolist() == [0x12]


def test_channels_are_added_and_never_lost(tmp_path: Path) -> None:
    found = grey_images(9)
    grey, colour = (open_source(save_npz(tmp_path / f"{c}.npz", found.expand(-1, c, -1, -1))) for c in (1, 3))
    assert torch.equal(all_of(grey.in_channels(3))[1], all_of(colour)[1])
    assert torch.equal(all_of(colour.in_channels(1))[1], all_of(grey)[1])
    assert grey.in_channels(3).remarks == ("1: grey, taken three times over",)
    assert grey.in_channels(1) is grey
    real = open_source(save_npz(tmp_path / "c.npz", blobs(9, 3)))
    with pytest.raises(BenchError, match=r"c\.npz have colours, those to compare them with are grey"):
        all_of(real.in_channels(1))


# Bad input

PHOTO = Image.new("RGB", (8, 8), (5, 6, 7))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "empty": (lambda folder: [path.unlink() for path in folder.iterdir()], "holds no images", "Name another"),
    "single": (lambda folder: [(folder / f"{i}.png").unlink() for i in (0, 1)], "single image, 2.png", "Name another"),
    "no image": (lambda folder: (folder / "1.png").write_text("x"), r"1 of 3 images .* read: 1.png \(no image\)", "delete"),
    "cut short": (lambda folder: truncate(folder / "1.png"), "1.png in .* can not be read", "Restore or delete"),
    "cut first": (lambda folder: truncate(folder / "0.png"), "0.png in .* can not be read", "Restore or delete"),
    "sizes": (lambda folder: PHOTO.resize((8, 9)).save(folder / "1.png"), "0.png is 8x8, 1.png is 8x9", "Resize them"),
    "no range": (lambda folder: Image.new("F", (8, 8)).save(folder / "1.tif"), "1.tif in .*mode F", "Restore or delete"),
}


@pytest.mark.parametrize("what", BAD_FOLDERS)
def test_bad_folders(what: str, tmp_path: Path) -> None:
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    all_of(open_source(tmp_path))
    spoil, given, remedy = BAD_FOLDERS[what]
    spoil(tmp_path)
    is_refused(tmp_path, given, remedy)


def test_a_turned_photograph_is_judged_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for i in range(3):
        Image.new("RGB", (8, 6)).save(tmp_path / f"{i}.jpg")
    Image.new("RGB", (6, 8)).save(tmp_path / "1.jpg", exif=exif)
    assert all_of(open_source(tmp_path))[1].shape == (3, 3, 6, 8)
    Image.new("RGB", (6, 8)).save(tmp_path / "2.jpg")
    is_refused(tmp_path, "0.jpg is 8x6, 2.jpg is 6x8", "Resize them")


def is_refused(path: Path, given: str, remedy: str) -> None:
    with pytest.raises(BenchError, match=given) as caught:
        all_of(open_source(path))
    assert remedy in caught.value.remedy
    assert str(path) in caught.value.given
    assert all(len(part) > 5 for part in caught.value.args)


def zeros(*shape: int, dtype: Any = np.uint8) -> NDArray:
    return np.zeros(shape, dtype)


UNIT = np.linspace(0, 1, 9 * 8 * 8 * 3).reshape(9, 8, 8, 3)
BAD_ARRAYS: dict[str, tuple[NDArray, str, str]] = {
    "[0, 1]": (UNIT.astype(np.float32), r"type float32; its first 9 images lie in \[0, 1\]", "np.clip(255 * x + 0.5,"),
    "[-1, 1]": (2 * UNIT - 1, r"type float64; its first 9 images lie in \[-1, 1\]", "np.clip(127.5 * x + 128,"),
    "[0, 255]": (255 * UNIT, r"lie in \[0, 255\]", "np.clip(x + 0.5,"),
    "out of range": (3 * UNIT - 1, r"lie in \[-1, 2\]", "none of [0, 1], [-1, 1], [0, 255]"),
    "NaN": (UNIT * np.nan, r"lie in \[nan, nan\]", "none of [0, 1]"),
    "int64": (zeros(9, 8, 8, 3, dtype=np.int64), "type int64", "astype(np.uint8)"),
    "bool": (zeros(9, 8, 8, 3, dtype=bool), "type bool", "Correct it"),
    "channels first": (zeros(9, 3, 8, 8), r"shape \(9, 3, 8, 8\)", "transpose(0, 2, 3, 1)"),
    "no channels": (zeros(9, 8, 8), r"shape \(9, 8, 8\)", "arr_0[..., None]"),
    "alpha": (zeros(9, 8, 8, 4), r"shape \(9, 8, 8, 4\)", "over a background"),
    "one": (zeros(1, 8, 8, 3), r"shape \(1, 8, 8, 3\)", "Correct the array"),
    "none": (zeros(0, 8, 8, 3), r"shape \(0, 8, 8, 3\)", "Correct the array"),
    "objects": (np.array([{}, {}], dtype=object), "array arr_0 holds Python objects: pickled content", "numpy.savez"),
    "by columns": (np.asfortranarray(UNIT * 255).astype(np.uint8, order="K"), "column by column", "ascontiguousarray"),
}


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_bad_arrays(what: str, tmp_path: Path) -> None:
    array, given, remedy = BAD_ARRAYS[what]
    np.savez(tmp_path / "a.npz", arr_0=array)
    is_refused(tmp_path / "a.npz", given, remedy)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "cut short": (truncate, "a.npz is damaged or cut short", "Restore the file"),
    "a flipped byte": (lambda path: flip(path), "a.npz, array arr_0, is damaged", "Restore the file"),
    "statistics": (lambda path: np.savez(path, mu=np.zeros(3), sigma=np.eye(3)), "statistics and no images", "savez"),
    "other names": (lambda path: np.savez(path, samples=zeros(9, 8, 8, 3)), "samples, and no arr_0", "arr_0=images"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps([1])), "is a pickle: pickled content", "savez"),
    "missing": (lambda path: path.unlink(), "a.npz does not exist", "Correct the path"),
}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_files(what: str, tmp_path: Path) -> None:
    path = save_npz(tmp_path / "a.npz", blobs(20, 3))
    spoil, given, remedy = BAD_FILES[what]
    spoil(path)
    is_refused(path, given, remedy)


def test_single_images_and_pickles_are_no_sources(tmp_path: Path) -> None:
    PHOTO.save(tmp_path / "a.png")
    is_refused(tmp_path / "a.png", "is a single image", "Name its folder")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1]))
    is_refused(tmp_path / "a.pkl", "runs whatever code", "savez")
