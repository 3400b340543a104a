"""Energy: counters made for the purpose, which the tests turn themselves. No assertion on times."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fake_nvml
from bench.speed import energy, nvml
from fake_nvml import GPU, UUID, Library

CPU = torch.device("cpu")
RANGE = 262_143_328_850  # microjoules, of a real package


# A counter that the tests turn


class Zones:
    """A powercap tree of two packages, one with a part, and the whole machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for zone, name in (("0", "package-0"), ("1", "package-1"), ("0:0", "core"), ("2", "psys")):
            place = folder / f"intel-rapl:{zone}"
            place.mkdir(parents=True)
            (place / "name").write_text(name + "\n")
            (place / "max_energy_range_uj").write_text(f"{RANGE}\n")
            self.set(zone, 1_000)

    def set(self, zone: str, microjoules: int) -> None:
        (self.folder / f"intel-rapl:{zone}/energy_uj").write_text(f"{microjoules}\n")

    def get(self, zone: str) -> int:
        return int((self.folder / f"intel-rapl:{zone}/energy_uj").read_text())

    def spend(self, zone: str, joules: float) -> None:
        self.set(zone, (self.get(zone) + round(joules * 1e6)) % (RANGE + 1))


@pytest.fixture
def zones(tmp_path: Path) -> Zones:
    return Zones(tmp_path / "powercap")


def test_energy_is_the_sum_of_the_packages_alone(zones: Zones) -> None:
    meter = energy.Meter(CPU, zones.folder)
    first = meter.joules()
    assert meter.reason == ""
    assert first is not None
    for zone, joules in (("0", 3.0), ("1", 0.5), ("0:0", 100.0), ("2", 1000.0)):
        zones.spend(zone, joules)
    second = meter.joules()
    assert second is not None
    assert second - first == pytest.approx(3.5)


def test_a_counter_that_starts_again_lost_nothing(zones: Zones) -> None:
    zones.set("0", RANGE - 1_000_000)
    meter = energy.Meter(CPU, zones.folder)
    first = meter.joules()
    zones.spend("0", 5.0)
    assert zones.get("0") < 5_000_000, "it has started again"
    second = meter.joules()
    zones.spend("0", 2.0)
    third = meter.joules()
    assert first is not None
    assert second is not None
    assert third is not None
    assert second - first == pytest.approx(5.0)
    assert third - second == pytest.approx(2.0)


def test_no_counter_is_no_number_but_a_reason(tmp_path: Path, zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    none = energy.Meter(CPU, tmp_path / "nothing here")
    assert none.joules() is None
    assert energy.per_call(lambda: called.append(1), CPU, 0.0, none) == (None, "the system shows no energy counter of the CPU")
    assert not called, "nothing to measure: the work is not repeated for it"

    def refuse(self: Path, *_: Any) -> str:
        if self.name == "energy_uj":
            raise PermissionError
        return "package-0" if self.name == "name" else str(RANGE)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert energy.Meter(CPU, zones.folder).reason == "the CPU's energy counter can be read by root alone"


# Energy of a call


def test_a_calls_energy_is_between_two_moves_of_the_counter(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter moves at every third call, by all that was spent: 2 J a call. What was before the first move is not ours."""
    monkeypatch.setattr(energy, "LOOK_EVERY", 0.0)
    calls = []

    def work() -> None:
        calls.append(1)
        if len(calls) % 3 == 0:
            zones.spend("0", 6.0 if len(calls) > 3 else 500.0)

    assert energy.per_call(work, CPU, 0.0, energy.Meter(CPU, zones.folder)) == (pytest.approx(2.0), "")
    assert len(calls) == 6
    found, reason = energy.per_call(work, CPU, 0.02, energy.Meter(CPU, zones.folder))
    assert (found, reason) == (pytest.approx(2.0), "")
    assert len(calls) > 12, "more moves than two, until the time is over"


def test_a_counter_that_stands_still_is_given_up(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(energy, "PATIENCE", 0.0)
    meter = energy.Meter(CPU, zones.folder)
    assert energy.per_call(lambda: None, CPU, 0.0, meter) == (None, "the counter did not move")
    moved: list[int] = []

    def once() -> None:
        if not moved:
            zones.spend("0", 1.0)
        moved.append(1)

    assert energy.per_call(once, CPU, 1.0, meter) == (None, "the counter did not move")


def test_a_counter_that_goes_away_is_none_with_the_reason(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "LOOK_EVERY", 0.0)
    meter = energy.Meter(CPU, zones.folder)

    def work() -> None:
        (zones.folder / "intel-rapl:0/energy_uj").unlink(missing_ok=True)

    assert energy.per_call(work, CPU, 0.0, meter) == (None, "the CPU's energy counter can not be read")
    assert meter.joules() is None


# A GPU's, through a library made up


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    return fake_nvml.installer(monkeypatch)


@pytest.mark.parametrize("mig", [0, None])
def test_a_gpus_energy_is_its_own(install: Callable[[Any], Any], mig: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "LOOK_EVERY", 0.0)
    library = install(Library(mig=mig))
    meter = energy.Meter(GPU)
    assert (meter.joules(), meter.reason) == (7.0, "")
    assert library.asked == [f"GPU-{UUID}"], "not by number: CUDA_VISIBLE_DEVICES changes it"

    def work() -> None:
        library.millijoules += 250

    assert energy.per_call(work, GPU, 0.0) == (pytest.approx(0.25), "")


def test_a_gpu_that_nvml_knows_by_its_place_alone(install: Callable[[Any], Any]) -> None:
    library = install(Library(knows_uuid=False))
    assert nvml.gpu(GPU) == (library, "by bus")
    assert library.asked[-1] == "00000000:1b:00.0"


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (None, "nvidia-ml-py is not installed"),
        (Library(mig=1), "the GPU is divided (MIG): its counter is of all parts"),
        (Library(silent=("energy",)), "NVML has no energy of this GPU (Not Supported)"),
    ],
)
def test_a_gpu_without_a_counter_says_why(install: Callable[[Any], Any], library: Any, reason: str) -> None:
    install(library)
    meter = energy.Meter(GPU)
    assert (meter.joules(), meter.reason) == (None, reason)
