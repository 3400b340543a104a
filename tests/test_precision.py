"""Whole float32 within `exact_float32`, whatever was chosen before, by either of torch's sets of switches; then as before."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import backends

from bench import float32
from bench.float32 import exact_float32

NEWER = hasattr(backends.cuda.matmul, "fp32_precision")  # torch 2.9
MODULES: list[Any] = (
    [getattr(getattr(backends, backend), part) for backend in ("cudnn", "mkldnn") for part in ("conv", "rnn")]
    + [backends.cuda.matmul, backends.mkldnn.matmul]  # type: ignore[attr-defined]
    if NEWER
    else []
)


def newer() -> list[str]:
    return [module.fp32_precision for module in MODULES]


def older() -> list[object]:
    """What the older switches say; where torch refuses to tell, that it refuses."""

    def said(read: Callable[[], object]) -> object:
        try:
            return read()
        except RuntimeError:
            return "refused"

    return [
        said(torch.get_float32_matmul_precision),
        said(lambda: backends.cudnn.allow_tf32),
        said(lambda: backends.cuda.matmul.allow_tf32),
    ]


@pytest.fixture
def own_switches() -> Iterator[None]:
    """Leaves the process as it was."""
    before, values = (newer(), older()), newer()
    yield
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = True
    for module, value in zip(MODULES, values, strict=True):
        module.fp32_precision = value
    assert (newer(), older()) == before


def set_newer() -> None:
    if not NEWER:
        pytest.skip("torch before 2.9 has the older switches alone")
    for module, value in zip(MODULES, ("tf32", "none", "bf16", "none", "tf32", "bf16"), strict=True):
        module.fp32_precision = value


@pytest.mark.usefixtures("own_switches")
@pytest.mark.parametrize(
    "choose",
    [
        lambda: None,
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: setattr(backends.cuda.matmul, "allow_tf32", True),
        lambda: setattr(backends.cudnn, "allow_tf32", False),
        set_newer,
    ],
    ids=["default", "medium", "tf32", "cudnn off", "newer"],
)
def test_whole_within_and_as_before_after(choose: Callable[[], None]) -> None:
    choose()
    before = newer(), older()
    with exact_float32("cpu"), exact_float32("cpu"):
        assert set(newer()) <= {"ieee"}
        assert older() == ["highest", False, False]  # the two sets agree: torch's own matrix products ask for that
    assert (newer(), older()) == before
    with contextlib.suppress(KeyError), exact_float32("cpu"):
        raise KeyError
    assert (newer(), older()) == before


@pytest.mark.usefixtures("own_switches")
def test_with_the_older_switches_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.7 and 2.8."""
    monkeypatch.setattr(float32, "_modules", list)
    torch.set_float32_matmul_precision("high")
    with exact_float32("cpu"):
        assert older()[:2] == ["highest", False]
    assert older()[:2] == ["high", True]


def test_autocast_is_off_within() -> None:
    x = torch.randn(8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        with exact_float32("cpu"):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16


@pytest.mark.usefixtures("own_switches")
def test_one_thread_at_a_time() -> None:
    """Else the first to leave would turn TF32 on for the other."""
    torch.set_float32_matmul_precision("high")
    inside, leave, entered = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with exact_float32("cpu"):
            inside.set()
            leave.wait(10)

    def second() -> None:
        inside.wait(10)
        with exact_float32("cpu"):
            entered.set()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    assert inside.wait(10)
    assert not entered.wait(0.1)
    leave.set()
    for thread in threads:
        thread.join()
    assert entered.is_set()
    assert torch.get_float32_matmul_precision() == "high"
