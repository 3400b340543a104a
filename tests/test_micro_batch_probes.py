"""`loop.micro_batch = "auto"`: the steps that a probe takes, and the one number of processes that would choose differently."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from bench import datasets, micro_batch, probe
from bench.errors import BenchError
from bench.memory import OutOfMemory
from conftest import tiny_run
from made_up_memory import AUTO, CPU, MEGA, SHAPES, made_up


def test_the_probe_takes_two_steps_of_each_size_that_can_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a size needs is judged by the line through the one before and what is there without rows: 20 bytes a parameter."""
    held = 20 * probe.parameters(tiny_run(), SHAPES)
    steps: list[int] = []

    def step(_: object, __: object, ___: object, rows: int, ____: bool) -> Any:
        return lambda: steps.append(rows)

    monkeypatch.setattr(probe, "_step", step)
    monkeypatch.setattr(probe, "peak_memory", lambda _: held + MEGA * steps[-1] if steps else 0)
    found = probe.peaks(tiny_run(), SHAPES, CPU, (4, 16), held + 16 * MEGA)
    assert (found.base, found.points) == (0, ((4, held + 4 * MEGA), (16, held + 16 * MEGA)))
    assert steps == [4, 4, 16, 16]
    steps.clear()
    assert probe.peaks(tiny_run(), SHAPES, CPU, (4, 16), held + 15 * MEGA).points == ((4, held + 4 * MEGA),)
    assert steps == [4, 4]
    steps.clear()

    def runs_out(_: object, __: object, ___: object, rows: int, ____: bool) -> Any:
        if rows == 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return lambda: steps.append(rows)

    monkeypatch.setattr(probe, "_step", runs_out)
    assert [rows for rows, _ in probe.peaks(tiny_run(), SHAPES, CPU, (4, 8, 16, 32), 10**12).points] == [4, 8]
    steps.clear()
    with pytest.raises(OutOfMemory, match="4 rows would take"):
        probe.peaks(tiny_run(), SHAPES, CPU, (4, 16), held - 1)
    assert steps == []


def test_a_real_probe() -> None:
    found = probe.peaks(tiny_run(), SHAPES, CPU, (4, 32), 10**12, True)
    assert [rows for rows, _ in found.points] == [4, 32]
    assert all(peak > 10 * MEGA for _, peak in found.points)


# Several processes


def agree(rank: int, folder: str) -> None:
    """Each with its own memory and its own line, as on two machines."""
    torch.set_num_threads(1)
    os.environ["LOCAL_WORLD_SIZE"] = "1"
    os.environ["LOCAL_RANK"] = "0"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found: dict[str, Any] = {}
    told: list[str] = []
    parameters = probe.parameters(tiny_run(), SHAPES)
    least = 50 * MEGA + (16 + 4) * parameters + 2 * 4 * 64 * 16
    dataset = datasets.load("digits")
    probe.peaks_apart = made_up(MEGA)
    for name, room in (("own", (8, 16)), ("other's", (16, 8)), ("whole", (16, 16)), ("none", (16, -9))):
        probe.free_memory = lambda _, rows=room[rank]: int((least + rows * MEGA) / (1 - micro_batch.MARGIN) + 10)  # type: ignore[misc]
        try:
            loop = micro_batch.settled(tiny_run(), dataset, AUTO, CPU, told.append)
            found[name] = loop.micro_batch
        except BenchError as error:
            found[name] = [str(error), error.elsewhere]
    Path(folder, f"{rank}.json").write_text(json.dumps(found | {"told": told}))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_processes_agree_on_the_smallest(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(agree, (str(tmp_path),), nprocs=2)
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    for found in (one, two):
        assert (found["own"], found["other's"], found["whole"]) == (8, 8, 16)
    assert [found["none"][1] for found in (one, two)] == [True, False]
    assert "4 rows at a time need" in one["none"][0]
    assert two["told"] == []
    assert [line.partition(":")[2][:20] for line in one["told"]] == [
        " 8 rows at a time (a", " 8 rows at a time, a", " all 16 rows at a ti"
    ]  # fmt: skip
