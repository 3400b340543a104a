"""The facts about a machine, on files and drivers made for the purpose."""

import getpass
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fake_nvml
from bench.speed import machine
from fake_nvml import GPU, UUID, Library

CPU = torch.device("cpu")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    return fake_nvml.installer(monkeypatch)


def test_clocks_as_nvml_has_them(install: Callable[[Any], Any]) -> None:
    install(Library())
    assert machine.meters(GPU) == {
        "driver": "595.12.01",
        "sm_mhz": 1755,
        "sm_mhz_max": 1980,
        "memory_mhz": 2619,
        "memory_mhz_max": 2620,
        "power_limit_watts": 700.0,
        "temperature_celsius": 41,
    }
    install(Library(silent=("clock", "power", "driver")))
    found = machine.meters(GPU)
    assert found["sm_mhz"] is found["power_limit_watts"] is found["driver"] is None
    assert found["sm_mhz_max"] == 1980


def test_clocks_as_nvidia_smi_has_them(install: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert set(machine.meters(GPU)) == set(machine.SMI)
    assert not any(machine.meters(GPU).values()), "neither is there: nothing is known"
    command = tmp_path / "nvidia-smi"
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho "595.12.01, 1755, 1980, 2619, 2619, 699.50, [N/A]"\n')
    command.chmod(0o755)
    found = machine.meters(GPU)
    assert (found["driver"], found["sm_mhz"], found["power_limit_watts"]) == ("595.12.01", 1755.0, 699.5)
    assert found["temperature_celsius"] is None
    assert f"--id=GPU-{UUID}" in (tmp_path / "asked").read_text(), "of this GPU alone"


def test_the_cpu_is_described_by_what_the_system_shows(tmp_path: Path) -> None:
    for name, text in {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\ncpu MHz\t\t: 2199.998\n",
        "proc/meminfo": "MemTotal:       16384 kB\nMemFree: 1 kB\n",
        "sys/fs/cgroup/cpu.max": "150000 100000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "3100000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = machine.cpu(tmp_path / "proc", tmp_path / "sys")
    assert found["name"] == "Intel(R) Xeon(R) CPU @ 2.20GHz"
    assert (found["memory_bytes"], found["quota"], found["governor"], found["mhz"]) == (2**24, 1.5, "performance", 3100.0)
    assert found["threads_used"] == torch.get_num_threads()
    (tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").unlink()
    assert machine.cpu(tmp_path / "proc", tmp_path / "sys")["mhz"] == 2199.998
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    assert machine.cpu(tmp_path / "proc", tmp_path / "sys")["quota"] is None
    nothing = machine.cpu(tmp_path / "a", tmp_path / "b")
    assert nothing["governor"] is nothing["mhz"] is nothing["memory_bytes"] is nothing["quota"] is None


def test_facts_are_plain_and_name_no_person_host_or_folder() -> None:
    found = machine.facts(CPU)
    text = json.dumps(found)
    assert found["torch"] == torch.__version__
    assert found["device"] == found["cpu_name"]
    assert all(value is None or type(value) in (str, int, float) for value in found.values())
    for name in (platform.node(), getpass.getuser(), str(Path.home())):
        assert f'"{name}"' not in text
    assert "/home" not in text
    assert machine.slug(found).startswith("cpu-")


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("cuda", "NVIDIA H100 80GB HBM3", "nvidia-h100-80gb-hbm3"),
        ("cuda", "Tesla T4/../x", "tesla-t4-x"),
        ("cpu", "Intel(R) Xeon(R) CPU @ 2.20GHz", "cpu-intel-xeon-2-threads"),
        ("cpu", "AMD EPYC 9V74 80-Core Processor", "cpu-amd-epyc-9v74-80-core-2-threads"),
    ],
)
def test_a_slug_is_a_folders_name(kind: str, name: str, expected: str) -> None:
    assert machine.slug({"device_kind": kind, "device": name, "cpu_threads_used": 2}) == expected
