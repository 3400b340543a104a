"""Weights of third parties: the order in which they are looked for, and what is refused."""

import hashlib
from pathlib import Path

import pytest
import torch

import small_weights
from bench import weights
from bench.errors import BenchError
from bench.weights import KNOWN, find
from small_weights import ALTERED, DATA, SMALL, put, refused


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_weights.own_places(tmp_path, monkeypatch)


# Finding


def test_order_of_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explicit, given = put(tmp_path / "explicit"), put(tmp_path / "given")
    further = put(tmp_path / "package/small.pth")
    caches = [
        put(folder / name)
        for folder in (weights.torch_folder(), weights.cache_folder())
        for name in ("small.pth", "pt_small.pth")
    ]
    monkeypatch.setenv(SMALL.environment, str(given))
    assert find(SMALL, str(explicit)) == explicit
    assert find(SMALL) == given
    monkeypatch.delenv(SMALL.environment)
    assert find(SMALL, folders=[further.parent]) == further
    for path in caches:
        assert find(SMALL) == path
        path.unlink()
    with pytest.raises(BenchError):
        find(SMALL)


@pytest.mark.parametrize("variables", [{"TORCH_HOME": "/a"}, {"XDG_CACHE_HOME": "/b"}, {}, {"TORCH_HOME": "~/c"}])
def test_torch_folder_is_torchs(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert weights.torch_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_missing_weights_say_all_that_helps() -> None:
    damaged = put(weights.torch_folder() / "small.pth", DATA[:100])
    error = refused(lambda: find(SMALL))
    tried = [f"{folder / name}" for folder in (damaged.parent, weights.cache_folder()) for name in SMALL.file_names]
    for part in ("FID need", SMALL.environment, "[extractors.small] weights", f"{damaged} has 100 bytes, not 4,096", *tried):
        assert part in error.given
    for part in (SMALL.file_names[0], "4,096 bytes", SMALL.sha256, SMALL.url):
        assert part in error.allowed
    for part in ("[extractors.small] weights = PATH", SMALL.environment, "bench fetch small"):
        assert part in error.remedy


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (DATA[:-1], "has 4,095 bytes, not 4,096"),
        (DATA + b"!", "has 4,097 bytes"),
        (ALTERED, hashlib.sha256(ALTERED).hexdigest()),
        (None, "does not exist"),
    ],
)
@pytest.mark.parametrize("explicit", [True, False])
def test_a_given_file_that_is_wrong_is_never_skipped(
    data: bytes | None, reason: str, explicit: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(weights.torch_folder() / "small.pth")  # a right one, which must not be taken instead
    path = tmp_path / "mine.pth"
    if data is not None:
        put(path, data)
    if not explicit:
        monkeypatch.setenv(SMALL.environment, str(path))
    error = refused(lambda: find(SMALL, str(path) if explicit else ""))
    assert f"{path} " in error.given
    assert reason in error.given
    assert ("[extractors.small]" if explicit else SMALL.environment) in error.given
    assert SMALL.sha256 in error.allowed
    assert ("on purpose" in error.remedy) == (data is not None)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "is no file" in refused(lambda: find(SMALL, str(tmp_path))).given


def test_a_file_of_another_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "sha256_of", lambda _: pytest.fail("read"))
    refused(lambda: find(SMALL, str(put(tmp_path / "mine.pth", b"short"))))


# The user's own file, under the user's own digest


def test_another_file_needs_its_digest_and_its_path(tmp_path: Path) -> None:
    path = put(tmp_path / "mine.pth", b"another network")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    other = SMALL.other(digest.upper())
    assert find(other, str(path)) == path
    assert (other.title("inception"), SMALL.title("inception")) == ("inception-othernet", "inception")
    assert other.conditions["comparable"].startswith("no")
    assert not SMALL.conditions
    assert "sha256" in refused(lambda: find(other, str(put(tmp_path / "third.pth", b"a third")))).given
    put(weights.torch_folder() / "small.pth", path.read_bytes())
    assert "sha256 without weights" in refused(lambda: find(other)).given  # never looked for in a cache
    assert SMALL.other("") is SMALL.other(SMALL.sha256) is SMALL
    assert "64" in refused(lambda: SMALL.other("abc")).allowed


# The table


def test_known_weights_are_those_of_the_packages() -> None:
    from cleanfid import downloads_helper
    from torch_fidelity import feature_extractor_inceptionv3

    assert KNOWN["inception"].url == feature_extractor_inceptionv3.URL_INCEPTION_V3
    assert KNOWN["inception_torchscript"].url == downloads_helper.inception_url
    for name, known in KNOWN.items():
        assert name == known.name
        assert known.published
        assert known.size > 0
        assert bytes.fromhex(known.sha256)
        assert bool(known.url) != bool(known.package)
        assert not known.url or known.url.endswith(known.file_names[0])
    assert all(KNOWN["inception"].sha256[:8] in name for name in KNOWN["inception"].file_names)  # as the name promises
    assert len({known.environment for known in KNOWN.values()}) == len(KNOWN)
