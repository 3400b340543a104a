"""`bench run --gpus N`: the same command line in N processes on this machine, by torch's own launcher.

code = launch(["run", "soflow", "--epochs", "240"], processes=8)
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence

from bench.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, BenchError, RunFailed

CODES = (EXIT_USAGE, EXIT_INTERRUPTED, EXIT_FAILED)  # of several processes, the first of these that one of them had


def launch(words: Sequence[str], processes: int, device: str) -> int:
    """Run `bench WORDS` in so many processes, each with a GPU of its own, or all on the CPU; returns the exit code.

    When one process ends in error the others are told to stop, and are killed if they do not.
    Raises BenchError for more processes than GPUs, and inside processes that were started together already; RunFailed when
    one was killed.
    """
    check(processes, device)
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "300")  # a large state takes its time; torch gives 30 seconds
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id=f"bench-{os.getpid()}", max_restarts=0,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", monitor_interval=0.2,
    )  # fmt: skip
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it would say is said below
    try:
        elastic_launch(config, sys.executable)("-m", "bench", *words)
    except ChildFailedError as error:
        found = {rank: failure.exitcode for rank, failure in error.failures.items()}
        killed = {rank: -code for rank, code in found.items() if code < 0 and -code != signal.SIGTERM}  # that is ours
        for rank, number in killed.items():
            why = " (the system does that when memory runs out)" if number == signal.SIGKILL else ""
            raise RunFailed(
                f"process {rank} of {processes} was ended by signal {number}{why}; the same command goes on from the last state"
            ) from None
        return next((code for code in CODES if code in found.values()), EXIT_FAILED)
    except (SignalException, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return 0


def check(processes: int, device: str) -> None:
    if "WORLD_SIZE" in os.environ:
        given = f"--gpus {processes} inside a process that torchrun or Slurm started"
        raise BenchError(given, "one of the two", "Leave out --gpus.")
    if device == "cpu":
        return
    import torch

    count = torch.cuda.device_count()
    if processes > count and (count or device != "auto"):
        raise BenchError(f"--gpus {processes}, but torch sees {count}", f"1 to {count}", "Use fewer, or --device cpu.")
    if not count:
        raise BenchError(
            f"--gpus {processes}, but torch sees no GPU", "--device cpu, for as many processes", "Add --device cpu."
        )


def without_gpus(words: Sequence[str]) -> list[str]:
    """The command line that each of the processes gets."""
    kept, skip = [], False
    for word in words:
        if not skip and word != "--gpus" and not word.startswith("--gpus="):
            kept.append(word)
        skip = word == "--gpus"
    return kept
