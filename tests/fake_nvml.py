"""A made-up pynvml: the management library of a machine whose GPUs are numbered otherwise than torch numbers them."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

GPU = torch.device("cuda", 1)
UUID = "12345678-9abc-def0-1234-56789abcdef0"


class NVMLError(Exception):
    pass


class Library:
    """What the tests need of pynvml: GPU 0 of torch may be another one here."""

    NVMLError = NVMLError
    NVML_DEVICE_MIG_ENABLE = 1
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = "sm", "memory", "gpu"

    def __init__(self, *, knows_uuid: bool = True, mig: int | None = 0, silent: tuple[str, ...] = ()) -> None:
        self.knows_uuid, self.mig, self.silent = knows_uuid, mig, silent
        self.asked: list[str] = []
        self.millijoules = 7_000

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:
        self.asked.append(name)
        if not self.knows_uuid:
            raise NVMLError("Not Found")
        return "by uuid"

    def nvmlDeviceGetHandleByPciBusId(self, name: str) -> str:
        self.asked.append(name)
        return "by bus"

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:
        if self.mig is None:
            raise NVMLError("Not Supported")
        return self.mig, self.mig

    def answer(self, question: str, value: Any) -> Any:
        if question in self.silent:
            raise NVMLError("Not Supported")
        return value

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return int(self.answer("energy", self.millijoules))

    def nvmlSystemGetDriverVersion(self) -> Any:
        return self.answer("driver", b"595.12.01")

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> Any:
        return self.answer("power", 700_000)

    def nvmlDeviceGetClockInfo(self, handle: str, kind: str) -> Any:
        return self.answer("clock", {"sm": 1755, "memory": 2619}[kind])

    def nvmlDeviceGetMaxClockInfo(self, handle: str, kind: str) -> Any:
        return {"sm": 1980, "memory": 2620}[kind]

    def nvmlDeviceGetTemperature(self, handle: str, kind: str) -> int:
        return 41


def installer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """What puts a library in pynvml's place, None for none, and a GPU into torch."""

    def one(library: Any) -> Any:
        places = SimpleNamespace(uuid=UUID, pci_domain_id=0, pci_bus_id=0x1B, pci_device_id=0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: places)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)
        monkeypatch.setitem(sys.modules, "pynvml", library)
        return library

    return one
