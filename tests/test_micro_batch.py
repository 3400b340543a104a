"""`loop.micro_batch = "auto"`: the fewest pieces that fit are chosen, noted, used and planned with."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench import config, micro_batch, pipeline, plan, probe
from bench.config import Loop
from bench.errors import BenchError
from bench.micro_batch import Need
from bench.probe import Measured, Peaks, Probe, Shapes
from bench.speed import run_rows
from bench.step import Step
from bench.store import Root
from command_line import bench, mistake
from conftest import tiny_run, tiny_suite
from made_up_memory import AUTO, CPU, MEGA, SHAPES, made_up


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
