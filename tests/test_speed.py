"""Costs: counted, not guessed; measured apart; no assertion on times."""

import os
from typing import Any

import pytest
import torch

from bench import dit
from bench.apart import in_own_process
from bench.errors import BenchError, RunFailed
from bench.speed import clock, peak_memory, run_rows
from conftest import tiny_run, tiny_suite

CPU = torch.device("cpu")


def test_every_row_says_what_it_measured(digits: Any) -> None:
    suite = tiny_suite()
    rows = run_rows.measure(tiny_run(), digits, suite, CPU, 1824)
    protocol = run_rows.make_protocol(tiny_run(), suite.speed, CPU)
    found = {(row.metric, row.steps): row for row in rows}
    assert set(found) == {
        ("train_images_per_second", None), ("train_peak_bytes", None), ("train_added_bytes", None),
        ("parameters", None), ("forward_macs", None),
        ("forward_equivalents", None), ("sample_images_per_second", 1), ("sample_images_per_second", 2), ("latency_ms", 1),
        ("latency_ms", 2),
    }  # fmt: skip
    for row in rows:
        assert row.value is not None
        assert row.value > 0 or row.metric == "train_added_bytes"  # this process may have had the room already
        assert row.protocol == protocol.id
    assert found["train_images_per_second", None].n >= clock.MIN_ROUNDS  # type: ignore[operator]
    assert protocol.conditions["memory"] == "resident"
    assert found["forward_equivalents", None].value == 3.5  # unguided SoFlow: 3, and two forwards of a quarter
    assert found["parameters", None].value == dit.parameter_count(dit.build("N/2", (1, 8, 8), 10))


def test_peak_memory_sees_an_allocation_and_forgets_it_after_a_reset() -> None:
    before, with_block, after, after_reset = in_own_process("takes 200 MB", peaks)
    assert with_block - before > 150e6
    assert after >= with_block - 1e6, "a peak stays"
    if not peak_memory.Path("/proc/self/clear_refs").exists():
        pytest.skip("this system can not reset the peak: it is of the whole process")
    assert after_reset < with_block - 100e6


def peaks() -> list[int]:
    """Before, with and after a block; in a process of its own: this one keeps what earlier tests freed."""
    peak_memory.reset_peak_memory(CPU)
    found = [peak_memory.peak_memory(CPU)]
    block = torch.ones(50_000_000)  # 200 MB, touched
    found.append(peak_memory.peak_memory(CPU))
    del block
    found.append(peak_memory.peak_memory(CPU))
    peak_memory.reset_peak_memory(CPU)
    return [*found, peak_memory.peak_memory(CPU)]


def test_rounds_fill_the_budget_and_are_at_least_five() -> None:
    calls = []
    assert len(clock.time_rounds(lambda: calls.append(1), CPU, 0.0)) == clock.MIN_ROUNDS
    assert len(calls) == clock.MIN_ROUNDS + clock.WARM_UP
    assert sum(clock.time_rounds(lambda: sum(range(1000)), CPU, 0.02)) >= 0.02


def test_measuring_changes_no_random_state(digits: Any) -> None:
    suite = tiny_suite()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    run_rows.measure(tiny_run(), digits, suite, CPU, 0)
    run_rows.expected_seconds(tiny_run(), digits, suite, CPU)
    assert torch.equal(before, torch.get_rng_state())


def test_another_batch_is_another_protocol() -> None:
    suite = tiny_suite()
    a = run_rows.make_protocol(tiny_run(), suite.speed, CPU)
    b = run_rows.make_protocol(tiny_run("train.batch=64"), suite.speed, CPU)
    assert a.id != b.id


def test_what_goes_wrong_in_the_other_process_arrives_here() -> None:
    suite = tiny_suite("run.dataset=image_folder", 'datasets.image_folder.folder="nowhere at all"')
    with pytest.raises(BenchError, match="nowhere at all"):
        run_rows.measure_apart(suite.runs()[0], suite, 0)


def test_a_killed_measurement_fails_instead_of_hanging(monkeypatch: Any) -> None:
    monkeypatch.setattr(run_rows, "measure_here", die)
    with pytest.raises(RunFailed, match="ended with code 7"):
        run_rows.measure_apart(tiny_run(), tiny_suite(), 0)


def die(*_: Any) -> None:
    os._exit(7)


def test_a_count_that_can_not_be_sampled_is_a_skipped_row(digits: Any) -> None:
    suite = tiny_suite('methods.flow_matching.sampler="heun"', methods=("flow_matching",))
    rows = run_rows.measure(suite.runs()[0], digits, suite, CPU, 0)
    assert {row.steps for row in rows if row.status == "skipped"} == {1}
