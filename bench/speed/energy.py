"""Energy, as the device's own counter has it: of the whole GPU board, or of the CPU's packages with all that runs on them.

    joules, reason = per_call(step, device, seconds=1.0)     # None where there is no counter, and why

Nothing is estimated. NVIDIA: NVML's total since the driver was loaded. CPU: Linux's powercap, where it may be read.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.speed import nvml
from bench.speed.clock import synchronise
from bench.speed.nvml import Unavailable

POWERCAP = Path("/sys/class/powercap")
LOOK_EVERY = 0.02  # seconds between readings: a counter moves every 1 to 100 ms, and reading takes time from the work
PATIENCE = 1.0  # seconds, and two calls, after which a counter that does not move is given up


class Meter:
    """A counter of energy. `reason` says why there is none, else it is empty."""

    def __init__(self, device: torch.device, powercap: Path = POWERCAP) -> None:
        self.reason = ""
        self._read: Callable[[], float] | None = None
        try:
            self._read = _gpu(device) if device.type == "cuda" else _packages(powercap)
            self._read()
        except Unavailable as error:
            self._read, self.reason = None, str(error)

    def joules(self) -> float | None:
        """Since some fixed moment; only differences mean something. None where there is no counter, or none any more."""
        try:
            return self._read() if self._read else None
        except Unavailable as error:
            self._read, self.reason = None, str(error)
            return None


def per_call(
    work: Callable[[], object], device: torch.device, seconds: float, meter: Meter | None = None
) -> tuple[float | None, str]:
    """Joules of one call of `work`, repeated for at least `seconds`; None and the reason where no counter tells.

    From one move of the counter to another, both while the work runs: what lies between belongs to the calls between,
    whatever the counter's own rhythm. So it is good to one call, or to LOOK_EVERY, in the whole time.
    """
    meter = meter or Meter(device)
    last = meter.joules()
    calls, looked = 0, time.perf_counter()
    still, moves = (calls, looked), list[tuple[float, int, float]]()  # moves: time, calls so far, joules; first and latest
    while last is not None:
        work()
        synchronise(device)
        calls, now = calls + 1, time.perf_counter()
        if now - looked < LOOK_EVERY:
            continue
        looked, found = now, meter.joules()
        if found is not None and found != last:
            still, moves = (calls, now), [*moves[:1], (now, calls, found)]
            if len(moves) > 1 and now - moves[0][0] >= seconds:
                (_, first_calls, first), (_, last_calls, latest) = moves
                return (latest - first) / (last_calls - first_calls), ""
        elif calls - still[0] > 2 and now - still[1] > PATIENCE:
            return None, "the counter did not move"
        last = found
    return None, meter.reason


def _gpu(device: torch.device) -> Callable[[], float]:
    library, handle = nvml.gpu(device)

    def read() -> float:
        try:
            return float(library.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000  # mJ
        except library.NVMLError as error:
            raise Unavailable(f"NVML has no energy of this GPU ({error})") from error

    try:
        shared = library.nvmlDeviceGetMigMode(handle)[0] == library.NVML_DEVICE_MIG_ENABLE
    except library.NVMLError:  # a GPU that can not be divided
        shared = False
    if shared:
        raise Unavailable("the GPU is divided (MIG): its counter is of all parts")
    return read


def _packages(powercap: Path) -> Callable[[], float]:
    """The sum over the packages; their parts, and the whole machine (psys), are left out. AMD's have the same names."""
    found = sorted(zone for zone in powercap.glob("intel-rapl:*") if _text(zone / "name").startswith("package"))
    if not found:
        raise Unavailable("the system shows no energy counter of the CPU")
    ranges = [_microjoules(zone / "max_energy_range_uj") for zone in found]
    before = [_microjoules(zone / "energy_uj") for zone in found]
    total = 0

    def read() -> float:
        nonlocal before, total
        now = [_microjoules(zone / "energy_uj") for zone in found]
        # A counter that fell has started again from 0, after its last value, which is the range.
        total += sum((a - b) % (most + 1) for a, b, most in zip(now, before, ranges, strict=True))
        before = now
        return total / 1e6

    return read


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _microjoules(path: Path) -> int:
    try:
        return int(path.read_text())
    except PermissionError as error:
        raise Unavailable("the CPU's energy counter can be read by root alone") from error
    except (OSError, ValueError) as error:
        raise Unavailable("the CPU's energy counter can not be read") from error
