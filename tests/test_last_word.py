"""The last word of a process that ran out of memory alone: the failed row has it, and nobody waits for a store that is gone."""

import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.distributed
import torch.multiprocessing

from bench import accord, datasets, pipeline
from bench.errors import PeerLost, RunFailed
from bench.step import Step
from bench.store import Root
from conftest import tiny_suite


def run_out(rank: int, folder: str, port: int) -> None:
    """Train in two processes; the second runs out of memory in its third step."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    step, calls = Step._backward, []

    def failing(self: Step, *given: Any) -> Any:
        calls.append(1)
        if rank == 1 and len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return step(self, *given)

    Step._backward = failing  # type: ignore[method-assign]
    suite = tiny_suite("loop.device=cpu")
    job = pipeline.Job(config=suite.runs()[0], suite=suite, root=Root(Path(folder)), dataset=datasets.load("digits"))
    try:
        pipeline.run_one(job, pipeline.Stages(evaluate=False, speed=False))
    except RunFailed as error:
        Path(folder, f"{rank}").write_text(type(error).__name__)
    os._exit(0)  # as bench.guard leaves


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_the_failed_row_says_why_the_other_process_ended(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(run_out, (str(tmp_path), free_port()), nprocs=2)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["PeerLost", "OutOfMemory"]
    (run,) = Root(tmp_path).run_directories()
    (row,) = pd.read_parquet(Root(tmp_path).result_file(run.name)).to_dict("records")
    assert (row["status"], row["metric"]) == ("failed", "training")
    assert row["reason"].startswith("process 1: out of memory (CUDA out of memory. Tried to allocate 2 GiB); set loop.micro")
    assert run.read_status()["reason"] == row["reason"]


class Gone:
    """A store whose machine has gone: it fails, or never answers."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def check(self, _: list[str]) -> bool:
        time.sleep(self.seconds)
        raise torch.distributed.DistNetworkError("failed to recv, got 0 bytes")


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_a_store_that_is_gone_is_not_waited_for(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accord, "WORD_SECONDS", 0.3)
    monkeypatch.setattr(accord, "_store", lambda: Gone(seconds))
    monkeypatch.setattr("bench.dist.world_size", lambda: 2)
    before = time.monotonic()
    assert accord.told_by_others(PeerLost("lost")) == ""
    assert time.monotonic() - before < 10, "the word is waited for, not the store"
    monkeypatch.setattr(accord, "_store", lambda: pytest.fail("nobody was lost"))
    assert accord.told_by_others(RunFailed("this process's own")) == ""
