"""`loop.micro_batch = "auto"`: the fewest pieces that fit, the same on all processes, noted and used; and the last word of a
process that ran out of memory alone."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.distributed
import torch.multiprocessing

from bench import accord, config, datasets, micro_batch, pipeline, plan, probe
from bench.config import Loop
from bench.errors import BenchError, PeerLost, RunFailed
from bench.memory import OutOfMemory
from bench.micro_batch import Need
from bench.probe import Measured, Peaks, Probe, Shapes
from bench.speed import run_rows
from bench.step import Step
from bench.store import Root
from command_line import bench, mistake
from conftest import tiny_run, tiny_suite

CPU = torch.device("cpu")
SHAPES = Shapes((1, 8, 8), 10, 1797)
AUTO = Loop(device="cpu", micro_batch="auto")
MEGA = 1_000_000


def made_up(each: int, fixed: int = 100 * MEGA, most: int = 1 << 30) -> Any:
    """A probe's line: bytes of each row; a size above `most` runs out of memory."""

    def peaks(_: object, __: Shapes, ___: str, sizes: tuple[int, ...], *____: object) -> Peaks:
        if min(sizes) > most:
            raise OutOfMemory("out of memory (made up); set something")
        return Peaks(50 * MEGA, tuple((rows, fixed + each * rows) for rows in sizes if rows <= most))

    return peaks


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known from another test, and no process of its own is started."""
    monkeypatch.setattr(micro_batch, "_known", {})
    monkeypatch.setattr(probe, "peaks_apart", made_up(MEGA))
    monkeypatch.setattr(probe, "free_memory", lambda _: 10**12)


# What is possible


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize(("method", "batch"), [("soflow", 32), ("soflow", 38), ("flow_matching", 30)])
def test_every_size_is_one_that_training_can_take(method: str, batch: int, processes: int) -> None:
    """Each is the largest piece of `share_of` under that very number, ever smaller; the smallest can not be cut further."""
    run = tiny_run(f"train.batch={batch}", method=method)
    every = micro_batch.possible(run, SHAPES, processes)
    assert every == sorted(set(every), reverse=True)
    rows = micro_batch.load_method(run, 10).velocity_rows
    for number in every:
        sizes = [micro_batch.share_of(batch, rows, rank, processes, number).sizes for rank in range(processes)]
        assert max(max(of_one) for of_one in sizes) == number
    q = micro_batch.unit(batch, rows)
    assert every[-1] == (q + batch % q)
    if processes == 1:
        assert every[0] == batch


# The choice


def chosen(free: int, *settings: str, method: str = "soflow", processes: int = 1) -> micro_batch.Choice:
    return micro_batch.choose(tiny_run(*settings, method=method), SHAPES, AUTO, CPU, free, processes)


def beside() -> int:
    """The closed form's constant: 100 - 50 MB of the line, a state's copy on the CPU, images and noise."""
    parameters = probe.parameters(tiny_run(), SHAPES)
    return 50 * MEGA + 16 * parameters + 2 * 4 * 64 * 32


def test_the_fewest_pieces_that_fit() -> None:
    """1 MB a row: the whole batch of 32 fits 82 MB and a margin, or just not; then halves, and so on."""
    for rows, pieces in ((32, 1), (16, 2), (12, 3), (8, 4), (4, 8)):
        exactly = (beside() + rows * MEGA) / (1 - micro_batch.MARGIN)
        choice = chosen(int(exactly) + 10)
        assert choice.rows == rows
        sizes = micro_batch.share_of(32, micro_batch.load_method(tiny_run(), 10).velocity_rows, 0, 1, choice.rows).sizes
        assert len(sizes) == pieces
        assert choice.needed == pytest.approx(beside() + rows * MEGA, abs=2)
        if rows > 4:
            assert chosen(int(exactly) - 10).rows < rows


def test_recomputation_and_precision_are_probed_as_they_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def peaks(run: Any, _: Shapes, __: str, sizes: tuple[int, ...], ___: int, recompute: bool) -> Peaks:
        seen.append((run.train.precision, run.train.compile, sizes, recompute))
        return made_up(MEGA)(run, _, __, sizes)  # type: ignore[no-any-return]

    monkeypatch.setattr(probe, "peaks_apart", peaks)
    run = tiny_run("train.precision='bf16'", "train.compile=true")
    micro_batch.choose(run, SHAPES, Loop(micro_batch="auto", recompute=True), CPU, 10**12, 1)
    assert seen == [("bf16", False, (8, 32), True)], "in whole units of 4 rows, uncompiled"
    again = run.model_copy(update={"seed": 7})
    micro_batch.choose(again, SHAPES, Loop(micro_batch="auto", recompute=True), CPU, 10**12, 1)
    assert len(seen) == 1, "another seed takes as much"
    micro_batch.choose(again, SHAPES, AUTO, CPU, 10**12, 1)
    assert len(seen) == 2


def test_a_probe_that_runs_out_of_memory_tries_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "peaks_apart", made_up(MEGA, most=16))
    assert chosen(10**12).needed == pytest.approx(beside() + 32 * MEGA, abs=2), "of 8 and 32 the second fails; of 4, 8, 16 none"
    monkeypatch.setattr(probe, "peaks_apart", made_up(MEGA, most=3))
    monkeypatch.setattr(micro_batch, "_known", {})
    with pytest.raises(BenchError, match=r"soflow on N/2, 4 rows at a time: out of memory \(made up\); 1,000.0 GB are free"):
        chosen(10**12)


def test_where_nothing_fits_the_mistake_has_three_parts() -> None:
    with pytest.raises(BenchError) as caught:
        chosen(50 * MEGA)
    assert "4 rows at a time need about 5" in caught.value.given
    assert "50 MB are free" in caught.value.given
    assert caught.value.allowed == "what fits into 85% of the free memory"
    assert "loop.recompute = true" in caught.value.remedy


def test_a_system_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "free_memory", lambda _: None)
    with pytest.raises(BenchError, match="does not say what memory is free"):
        micro_batch.free_here(CPU)


def test_processes_of_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert micro_batch.free_here(CPU) == 10**12 // 4


def test_a_line_below_what_is_held_is_not_believed() -> None:
    """Weights, gradient, average and moments are there with any number of rows."""
    need = Need(base=10, held=110, points=((8, 90), (16, 100)), beside=5)
    assert need(4) == need(8) == 110 - 10 + 5
    assert need(1000) == 90 + 10 * (1000 - 8) // 8 - 10 + 5


def test_other_words_are_refused() -> None:
    for value in ("atuo", "-1", "2.5", "true"):
        with pytest.raises(BenchError, match=r"loop.micro_batch = .*a whole number of rows, 0 for all of them, or 'auto'"):
            config.load(config.SHIPPED, {}, (f"loop.micro_batch={value}",))
    assert tiny_suite("loop.micro_batch=auto").loop.micro_batch == "auto"
    assert tiny_suite().loop.micro_batch == 0
    assert tiny_suite().loop.recompute is False


# A run


def test_a_run_trains_with_it_notes_it_and_is_timed_with_it(
    tmp_path: Path, digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of 12, 12 and 8 rows fit; the rows' protocol has the number; later settings, and a resumed run, take another."""
    free = (beside() + 12 * MEGA) / (1 - micro_batch.MARGIN) + 10
    monkeypatch.setattr(probe, "free_memory", lambda _: int(free))
    used: list[tuple[tuple[int, ...], bool]] = []
    start = Step.start.__func__  # type: ignore[attr-defined]

    def noting(cls: Any, *given: Any, **how: Any) -> Step:
        step: Step = start(cls, *given, **how)
        used.append((step.share.sizes, step.net.recompute))
        return step

    monkeypatch.setattr(Step, "start", classmethod(noting))
    suite = tiny_suite("loop.micro_batch=auto", "loop.recompute=true", "run.epochs=0.1", "speed.seconds=0.001")
    said: list[str] = []
    job = pipeline.Job(
        config=suite.runs()[0], suite=suite, root=Root(tmp_path), dataset=digits, hooks=pipeline.Hooks(say=said.append)
    )
    monkeypatch.setattr(run_rows, "in_own_process", lambda _, work, *given: work(*given))
    pipeline.run_one(job, pipeline.Stages(evaluate=False))
    assert used[0] == ((8, 12, 12), True)
    assert any(line.startswith("micro_batch auto: 12 rows at a time (about ") for line in said)
    assert "micro_batch auto: 12 rows at a time" in job.run.text_log.read_text()
    assert job.run.read_status()["micro_batch"] == 12
    frame = pd.read_parquet(job.root.result_file(job.run.name))
    protocol = run_rows.make_protocol(job.config, suite.speed, job.device, 12, True)
    assert protocol.id in set(frame["protocol"])
    assert protocol.conditions["micro_batch"] == 12
    assert protocol.conditions["recompute"] is True
    monkeypatch.setattr(probe, "peaks_apart", lambda *_: pytest.fail("the run says what it used"))
    pipeline.run_one(job, pipeline.Stages(evaluate=False))
    assert said[-1].startswith(f"{job.run.name} is timed already under {protocol.id}")


def test_what_is_announced_needs_no_more_memory_than_the_run(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "free_memory", lambda _: int((beside() + 8 * MEGA) / (1 - micro_batch.MARGIN) + 10))
    sizes: list[int] = []
    monkeypatch.setattr(run_rows, "training_step", lambda *given: [sizes.append(given[3]), lambda: None][1])
    monkeypatch.setattr(run_rows, "time_rounds", lambda *_: [1.0])
    run_rows.expected_seconds(tiny_run(), digits, tiny_suite("loop.micro_batch=auto"), CPU)
    assert sizes == [8]


def test_the_plan_says_what_auto_would_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    measured = Measured((Probe(8, 1.0, 58 * MEGA + 50 * MEGA), Probe(32, 4.0, 132 * MEGA)), 50 * MEGA, 0.01)
    monkeypatch.setattr(probe, "apart", lambda *words: [given.append(words[-1]), measured][1])
    monkeypatch.setattr(probe, "free_memory", lambda _: 50 * MEGA + int((beside() + 16 * MEGA) / (1 - micro_batch.MARGIN) + 10))
    suite = tiny_suite("loop.micro_batch=auto", "loop.recompute=true")
    outcome = plan.plan(suite, Root(Path()))
    assert given == [True]
    assert outcome.plans[0].pieces == (16, 16)
    assert outcome.notes[0].startswith("soflow: micro_batch auto: 16 rows at a time (about ")
    assert not outcome.refusals
    monkeypatch.setattr(probe, "free_memory", lambda _: 50 * MEGA)
    words = [word for setting in ("run.net=N/2", "train.batch=32", "loop.micro_batch=auto") for word in ("--set", setting)]
    assert "soflow needs" in mistake(bench("plan", "soflow", *words))


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


# The last word


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
