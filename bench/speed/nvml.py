"""NVIDIA's management library, where the package nvidia-ml-py is installed: the way to a GPU's meters.

    nvml, handle = gpu(device)          # raises Unavailable, saying why
    nvml.nvmlDeviceGetPowerUsage(handle)

torch numbers the GPUs that CUDA_VISIBLE_DEVICES leaves, NVML all of the machine: the GPU is found by its own identity.
"""

import importlib
from typing import Any

import torch


class Unavailable(Exception):
    """There is no such meter; the message says why, for the row that stays empty."""


def gpu(device: torch.device) -> tuple[Any, Any]:
    """The library, initialised, and its handle of torch's `device`. Raises Unavailable."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError as error:
        raise Unavailable("nvidia-ml-py is not installed") from error
    try:
        nvml.nvmlInit()
        return nvml, _handle(nvml, device)
    except nvml.NVMLError as error:
        raise Unavailable(f"NVML: {error}") from error


def uuid(device: torch.device) -> str:
    """As nvidia-smi and NVML write it: "GPU-", and the number."""
    found = str(torch.cuda.get_device_properties(device).uuid)
    return found if found.startswith(("GPU-", "MIG-")) else f"GPU-{found}"


def _handle(nvml: Any, device: torch.device) -> Any:
    """By UUID; where NVML does not know it, as in some virtual machines, by the place on the bus, which torch 2.8 tells."""
    properties: Any = torch.cuda.get_device_properties(device)
    try:
        return nvml.nvmlDeviceGetHandleByUUID(uuid(device))
    except nvml.NVMLError:
        if not all(hasattr(properties, part) for part in ("pci_domain_id", "pci_bus_id", "pci_device_id")):
            raise
    place = f"{properties.pci_domain_id:08x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0"
    return nvml.nvmlDeviceGetHandleByPciBusId(place)
