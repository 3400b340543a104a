"""On a CPU the C library keeps what is freed: large blocks are no longer mapped afresh each time."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, torch
from bench.host_memory import keep_freed
{told}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    for _ in range(3):
        blocks = [torch.ones(1_000_000) for _ in range(20)]  # 4 MB each; freed together
        del blocks
work()
before = faults()
work()
print(faults() - before)
"""


def faults(told: str) -> int:
    done = subprocess.run([sys.executable, "-c", CODE.format(told=told)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc: nothing is told to it")
def test_pages_are_not_fetched_anew() -> None:
    assert faults("assert keep_freed()") < 200, "a page is 4 KB, and three times 20 blocks of 4 MB were freed and taken"
