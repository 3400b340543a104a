"""A weight file of 4 KB as `bench.weights` describes one, and caches that are not the user's."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.weights import KNOWN, Weights

DATA = bytes(range(256)) * 16  # 4096 bytes
ALTERED = DATA[:-1] + b"!"
SMALL = Weights(
    name="small",
    file_names=("small.pth", "pt_small.pth"),
    size=len(DATA),
    sha256=hashlib.sha256(DATA).hexdigest(),
    needed_for="FID",
    environment="BENCH_SMALL_WEIGHTS",
    url="http://127.0.0.1/small.pth",
)


def own_places(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches below `folder`, and no variable of the user's. Returns torch's cache folder."""
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for known in (SMALL, *KNOWN.values()):
        monkeypatch.delenv(known.environment, raising=False)
    checkpoints = folder / "torch/hub/checkpoints"
    checkpoints.mkdir(parents=True)
    return checkpoints


def put(path: Path, data: bytes = DATA) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def refused(call: Callable[[], object]) -> BenchError:
    """The error of `call`, which has all three parts."""
    with pytest.raises(BenchError) as caught:
        call()
    assert all((caught.value.given, caught.value.allowed, caught.value.remedy))
    return caught.value
