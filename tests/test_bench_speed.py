"""What `bench speed` measures: columns and variants mean what they say, and what fails in a cell is a row."""

import math
import time
from typing import Any

import pandas as pd
import pytest
import torch

from bench.speed import cells, clock, generation, largest, results, sweep, training
from bench.speed.cells import BARE, Cell, Everywhere, Workbench
from reports import speed as reports_speed
from speed_requests import CPU, TINY, frame_of, tiny


@pytest.fixture(scope="module")
def trained() -> pd.DataFrame:
    """The rows of training, as a frame."""
    return frame_of(training.measure(TINY, "N/4", "fp32", CPU, math.inf))


# What is measured


def test_every_method_variant_and_column_has_every_quantity(trained: pd.DataFrame) -> None:
    found = trained[trained["work"] == "train"]
    assert (found["status"] == "ok").all(), found[found["status"] != "ok"]["reason"].tolist()
    expected = {(m, v, c) for m in TINY.methods for v in ("optimised", "published") for c in ("same", "best")}
    expected |= {("flow_matching", BARE, c) for c in ("same", "best")}
    for metric in ("step_ms", "images_per_second", "peak_bytes", "flops_per_image", "mfu"):
        rows = found[found["metric"] == metric]
        assert {tuple(place) for place in rows[["method", "variant", "column"]].to_numpy()} == expected, metric
        assert (rows["value"] > 0).all()
    joules = found[found["metric"] == "joules_per_image"]
    assert (joules["value"].notna() | (joules["reason"] != "")).all(), "a device without a counter says so"
    assert (trained["metric"] == "matmul_flops_per_second").sum() == 1


def test_all_cells_of_a_group_have_as_many_rounds_and_the_median_is_the_value(trained: pd.DataFrame) -> None:
    steps = trained[trained["metric"] == "step_ms"]
    assert len({len(rounds) for rounds in steps["rounds"]}) == 1
    for row in steps.to_dict("records"):
        low, middle, high = results.quartiles(row["rounds"])
        assert (row["low"], row["value"], row["high"]) == pytest.approx((1e3 * low, 1e3 * middle, 1e3 * high))
        assert row["noisy"] == (high - low > 0.1 * middle)


def test_the_structures_differ_in_operations_as_they_should(trained: pd.DataFrame) -> None:
    """In forward passes of an image: 3 is a pass with gradient. The papers' guided hyperparameters."""
    from bench import dit

    forward = 2 * dit.forward_macs("N/4", TINY.shape, TINY.classes)
    counted = trained[(trained["metric"] == "flops_per_image") & (trained["column"] == "best")]
    found = {(r["method"], r["variant"]): r["value"] / forward for r in counted.to_dict("records")}
    assert found["flow_matching", "optimised"] == pytest.approx(found["flow_matching", BARE])
    assert found["flow_matching", "optimised"] == pytest.approx(3, rel=0.08)
    assert found["soflow", "optimised"] == pytest.approx(3 + 1 + 0.25 + 0.25, rel=0.08)
    assert found["meanflow", "optimised"] < 0.85 * found["meanflow", "published"]


def test_same_is_one_attention_and_best_is_torchs_choice() -> None:
    assert {cell.attention for cell in cells.cells(TINY) if cell.column == "same"} == {"math"}
    assert {cell.attention for cell in cells.cells(TINY) if cell.column == "best"} == {"auto"}
    asked: list[str] = []
    bench_ = Workbench(TINY, "N/4", "fp32", CPU)
    original = cells.dit.attention_backend
    try:
        cells.dit.attention_backend = lambda name: asked.append(name) or original(name)  # type: ignore[func-returns-value, assignment]
        for column in ("same", "best"):
            bench_.step(Cell("soflow", "optimised", column))()
    finally:
        cells.dit.attention_backend = original
    assert asked == ["math", "auto"]


def test_same_takes_every_pass_in_bfloat16_and_best_the_quotient_in_float32() -> None:
    """Seen by the network's own inputs: autocast is on in a pass, or not."""
    seen: dict[str, list[bool]] = {}
    for column in ("same", "best"):
        bench_ = Workbench(TINY, "N/4", "bf16", CPU)
        step = bench_.step(Cell("soflow", "optimised", column))
        seen[column] = []
        hook = bench_.net.register_forward_pre_hook(lambda *_, c=column: seen[c].append(torch.is_autocast_enabled("cpu")))
        step()
        hook.remove()
    assert all(seen["same"])
    assert not all(seen["best"])
    assert any(seen["best"])
    assert isinstance(Everywhere(torch.nn.Identity()).exact, Everywhere)


def test_a_thousand_steps_leave_the_weights_where_they_are() -> None:
    """Else the last cells would train another network than the first."""
    bench_ = Workbench(TINY, "N/4", "fp32", CPU)
    before = [p.detach().clone() for p in bench_.net.parameters()]
    for _ in range(20):
        bench_.step(Cell("flow_matching", "optimised", "best"))()
    moved = max(float((a - b.detach()).abs().max()) for a, b in zip(before, bench_.net.parameters(), strict=True))
    assert 0 < moved < 1e-6


def test_compiled_cells_are_a_group_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import compilation

    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    request = tiny(methods=("flow_matching", "soflow"), compile=True)
    assert [name for name, _ in sweep.groups(request)] == [
        "training, N/4, fp32", "sampling, N/4, fp32", "compiled training, N/4, fp32",
    ]  # fmt: skip
    torch._dynamo.utils.counters.clear()
    found = frame_of(training.measure_compiled(request, "N/4", "fp32", CPU, math.inf))
    train = found[found["work"] == "train"]
    assert set(train["status"]) == {"ok"}
    assert train["compiled"].all()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2, "each once: the second must not undo the first"
    assert set(train["column"]) == {"best"}
    assert "first_step_seconds" in set(train["metric"]), "what compiling takes"


def test_works_take_turns() -> None:
    order: list[int] = []
    rounds = clock.in_turns([lambda: order.append(0), lambda: order.append(1)], CPU, 0.0)
    assert order[:4] == [0, 1, 0, 1]
    assert [len(own) for own in rounds] == [clock.MIN_ROUNDS, clock.MIN_ROUNDS]


def test_the_page_and_the_panels_hold_the_rows_numbers(trained: pd.DataFrame) -> None:
    description = {"machine": {"device": "a device"}, "versions": {"torch": "2"}, "started_at": "now", "commit": "0" * 40,
                   "dirty": False, "command": "bench speed"}  # fmt: skip
    text = reports_speed.markdown(trained, description)
    row = trained[(trained["metric"] == "step_ms") & (trained["method"] == "soflow")].iloc[0]
    assert f"{row['value']:.3g}" in text
    assert "bench speed" in text
    heads = reports_speed.panels(trained)[0].heads
    assert {"same ms", "best ms", "gain", "MFU"} <= set(heads)


# What can not be measured


def test_out_of_memory_in_one_cell_is_its_row_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Workbench.step

    def step(self: Workbench, cell: Cell, *arguments: Any, **more: Any) -> Any:
        if cell == Cell("meanflow", "published", "same"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        return original(self, cell, *arguments, **more)

    monkeypatch.setattr(Workbench, "step", step)
    few = tiny(methods=("flow_matching", "meanflow"))
    found = frame_of(training.measure(few, "N/4", "fp32", CPU, math.inf))
    failed = found[found["status"] == "failed"]
    assert {tuple(p) for p in failed[["method", "variant", "column"]].to_numpy()} == {("meanflow", "published", "same")}
    assert "out of memory" in failed["reason"].iloc[0]
    assert failed["value"].isna().all()


def test_what_the_time_does_not_reach_is_marked() -> None:
    found = frame_of(training.measure(TINY, "N/4", "fp32", CPU, time.monotonic() - 1))
    train = found[found["work"] == "train"]
    assert set(train["status"]) == {"skipped"}
    assert set(train["reason"]) == {training.BUDGET_SPENT}


def test_a_precision_that_the_device_lacks_is_a_skipped_row() -> None:
    found = frame_of(training.measure(tiny(precisions=("tf32",)), "N/4", "tf32", CPU, math.inf))
    assert set(found["status"]) == {"skipped"}
    assert "TF32 is of NVIDIA GPUs" in found["reason"].iloc[0]


def test_times_stay_where_the_rest_of_a_cell_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> int:
        raise RuntimeError("the profiler is not there")

    monkeypatch.setattr(training.held, "added_bytes", broken)
    found = frame_of(training.measure(tiny(methods=("flow_matching",), variants=()), "N/4", "fp32", CPU, math.inf))
    train = found[found["work"] == "train"].set_index("metric")
    assert set(train.loc["step_ms", "status"]) == {"ok"}
    assert set(train.loc["peak_bytes", "status"]) == {"failed"}
    assert "the profiler is not there" in train.loc["peak_bytes", "reason"].iloc[0]


# Sampling


def test_sampling_rows_of_both_columns_all_steps_and_batches() -> None:
    found = frame_of(generation.measure(tiny(methods=("soflow", "meanflow")), "N/4", "fp32", CPU, math.inf))
    assert (found["status"] == "ok").all()
    rates = found[found["metric"] == "images_per_second"]
    assert len(rates) == 2 * 2 * 2 * 2 * 2  # columns, methods, steps, batches, network alone and to uint8
    assert set(found[found["metric"] == "latency_ms"]["batch"]) == {1}


# The largest batch


def test_the_largest_batch_is_within_the_memory_and_the_next_is_not() -> None:
    request = tiny(methods=("flow_matching",), variants=("optimised",), max_batch=True, memory=0.004)
    (row,) = largest.measure(request, "N/4", "fp32", CPU, math.inf)
    assert row.value is not None
    bench_ = Workbench(request, "N/4", "fp32", CPU)

    def used(batch: int) -> int:
        step = bench_.step(Cell("flow_matching", "optimised", "best"), batch)
        step()
        bench_.forget()
        return training.held.added_bytes(step, CPU) + bench_.state_bytes("optimised")

    assert used(int(row.value)) <= 4_000_000  # type: ignore[operator]
    assert used(math.ceil(1.1 * row.value) + 1) > 4_000_000  # type: ignore[operator]
