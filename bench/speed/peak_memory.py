"""The most memory that a piece of work held: of the device on a GPU, of the whole process on a CPU."""

from pathlib import Path

import torch


def memory_kind(device: torch.device) -> str:
    """ "device" on a GPU, "resident" (of the whole process) on a CPU."""
    return "device" if device.type == "cuda" else "resident"


def reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak restarts from what is resident now


def peak_memory(device: torch.device) -> int:
    """Bytes, since the reset where the system has one, else since the process started."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
