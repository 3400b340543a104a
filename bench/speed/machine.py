"""What a results file says of the machine: device, driver, clocks as found, versions. What is not known is None.

    found = facts(torch.device("cuda"))      # plain values, for JSON
    slug(found)                              # "nvidia-h100-80gb-hbm3", a folder's name

No names of hosts, users or folders: the file is for publishing.
"""

import contextlib
import os
import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from bench import provenance
from bench.speed import nvml

Facts = dict[str, str | int | float | None]
SMI = {  # our name -> nvidia-smi's
    "driver": "driver_version",
    "sm_mhz": "clocks.sm",
    "sm_mhz_max": "clocks.max.sm",
    "memory_mhz": "clocks.mem",
    "memory_mhz_max": "clocks.max.mem",
    "power_limit_watts": "power.limit",
    "temperature_celsius": "temperature.gpu",
}


def facts(device: torch.device) -> Facts:
    """Of `device` and the machine it is in, now; nothing runs on the device."""
    found: Facts = {
        "device_kind": device.type,
        "date": provenance.now(),
        "torch": str(torch.__version__),  # a class of its own
        "python": platform.python_version(),
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
    }
    found |= {f"cpu_{key}": value for key, value in cpu().items()}
    if device.type == "cuda":
        found |= {"device": torch.cuda.get_device_name(device), **gpu(device)}
    else:
        found["device"] = found["cpu_name"]
    return found


def slug(found: Facts) -> str:
    """The device's name in small letters, digits and dashes; for a CPU with the threads used, which its speed depends on."""
    words = str(found["device"])
    if found["device_kind"] == "cpu":
        plain = re.sub(r"\((r|tm|c)\)|\bcpu\b|\bprocessor\b|@.*", " ", words, flags=re.IGNORECASE)
        words = f"cpu {plain} {found['cpu_threads_used']} threads"
    return "-".join(re.findall(r"[a-z0-9]+", words.lower()))[:80].strip("-")


# The CPU


def cpu(proc: Path = Path("/proc"), system: Path = Path("/sys")) -> Facts:
    """Model, cores, memory, load. `quota`: cores' worth of time that a container may use; None is all."""
    first = system / "devices/system/cpu/cpu0/cpufreq"
    megahertz = _number(_text(first / "scaling_cur_freq"), 1e-3) or _number(_after("cpu MHz", proc / "cpuinfo"))
    memory = _number(_after("MemTotal", proc / "meminfo").removesuffix("kB"), 1024)
    name = _after("model name", proc / "cpuinfo") or platform.processor() or platform.machine()
    return {
        "name": name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "quota": _quota(_text(system / "fs/cgroup/cpu.max")),
        "threads_used": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "governor": _text(first / "scaling_governor") or None,
        "mhz": megahertz,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "memory_bytes": None if memory is None else int(memory),
    }


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _after(key: str, path: Path) -> str:
    """What stands behind "key :" in the first line that begins so; "" where none does."""
    lines = (line.partition(":") for line in _text(path).splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "")


def _number(text: str, unit: float = 1.0) -> float | None:
    try:
        return float(text) * unit
    except ValueError:
        return None


def _quota(text: str) -> float | None:
    """ "200000 100000" is two cores' worth; "max 100000" no limit."""
    limit, _, period = text.partition(" ")
    given, each = _number(limit), _number(period)
    return given / each if given and each else None


# The GPU


def gpu(device: torch.device) -> Facts:
    """Versions and size by torch; driver, clocks and power by NVML, else by nvidia-smi, else None."""
    properties, cudnn = torch.cuda.get_device_properties(device), cast(Any, torch.backends.cudnn)  # which has no types
    found: Facts = {
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda,
        "cudnn": cudnn.version() if cudnn.is_available() else None,
    }
    return found | meters(device)


def meters(device: torch.device) -> Facts:
    """The keys of SMI: megahertz, watts, degrees, as they are now."""
    try:
        return _by_nvml(*nvml.gpu(device))
    except nvml.Unavailable:
        return _by_smi(device)


def _by_nvml(library: Any, handle: Any) -> Facts:
    def ask(question: Callable[[], Any]) -> Any:
        with contextlib.suppress(library.NVMLError):  # a question that this GPU does not answer
            return question()

    driver = ask(library.nvmlSystemGetDriverVersion)
    milliwatts = ask(lambda: library.nvmlDeviceGetEnforcedPowerLimit(handle))
    return {
        "driver": driver.decode() if isinstance(driver, bytes) else driver,  # as older versions of the package have it
        "sm_mhz": ask(lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_SM)),
        "sm_mhz_max": ask(lambda: library.nvmlDeviceGetMaxClockInfo(handle, library.NVML_CLOCK_SM)),
        "memory_mhz": ask(lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_MEM)),
        "memory_mhz_max": ask(lambda: library.nvmlDeviceGetMaxClockInfo(handle, library.NVML_CLOCK_MEM)),
        "power_limit_watts": None if milliwatts is None else milliwatts / 1000,
        "temperature_celsius": ask(lambda: library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU)),
    }


def _by_smi(device: torch.device) -> Facts:
    nothing: Facts = dict.fromkeys(SMI)
    query = [f"--query-gpu={','.join(SMI.values())}", "--format=csv,noheader,nounits", f"--id={nvml.uuid(device)}"]
    try:
        done = subprocess.run(["nvidia-smi", *query], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return nothing
    answers = [word.strip() for word in done.stdout.strip().split(",")]
    if len(answers) != len(SMI):
        return nothing
    # Watts have decimals, the driver's version two dots; what is not there reads "[N/A]" or alike.
    return {key: answer if key == "driver" else _number(answer) for key, answer in zip(SMI, answers, strict=True)}
