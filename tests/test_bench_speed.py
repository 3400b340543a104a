"""`bench speed`: columns and variants mean what they say, what fails is a row, ratios are paired, the file says all."""

import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bench.errors import BenchError, RunFailed
from bench.speed import cells, clock, generation, largest, results, sweep, training
from bench.speed.cells import BARE, Cell, Everywhere, Workbench
from bench.speed.request import Request, parse_shape, split
from command_line import bench, mistake
from reports import speed as reports_speed

CPU = torch.device("cpu")
TINY = Request(
    methods=("flow_matching", "soflow", "meanflow"), nets=("N/4",), shape=(4, 8, 8), classes=10, batch=8, seconds=0.01,
    steps=(1, 2), sample_batches=(1, 2),
)  # fmt: skip


def tiny(**changes: Any) -> Request:
    import dataclasses

    return dataclasses.replace(TINY, **changes)


@pytest.fixture(scope="module")
def trained() -> pd.DataFrame:
    """The rows of training, as a frame."""
    return frame_of(training.measure(TINY, "N/4", "fp32", CPU, math.inf))


def frame_of(rows: list[results.Measurement]) -> pd.DataFrame:
    import dataclasses

    return pd.DataFrame([dataclasses.asdict(row) for row in rows])


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


def test_a_killed_group_is_a_row_and_the_sweep_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    calls: list[str] = []

    def apart(what: str, work: Any, *arguments: Any, **_: Any) -> Any:
        if what == "looks at the device":
            return {"device": "a device"}
        calls.append(what)
        if len(calls) == 1:
            raise RunFailed("the process that measures speed ended with code -9 (out of memory?)")
        return work(*arguments)

    monkeypatch.setattr(sweep, "in_own_process", apart)
    one = tiny(methods=("flow_matching",), variants=("optimised",), steps=(1,), sample_batches=(1,))
    sweep.sweep(one, tmp_path, "bench speed", said.append)
    frame, description = results.read(tmp_path / sweep.FILE)
    lost = frame[frame["status"] == "failed"]
    assert lost["reason"].tolist() == ["the process that measures speed ended with code -9 (out of memory?)"]
    assert (frame["work"] == "generate").any(), "sampling was measured after it"
    assert description["command"] == "bench speed"


# Sampling


def test_sampling_rows_of_both_columns_all_steps_and_batches() -> None:
    found = frame_of(generation.measure(tiny(methods=("soflow", "meanflow")), "N/4", "fp32", CPU, math.inf))
    assert (found["status"] == "ok").all()
    rates = found[found["metric"] == "images_per_second"]
    assert len(rates) == 2 * 2 * 2 * 2 * 2  # columns, methods, steps, batches, network alone and to uint8
    assert set(found[found["metric"] == "latency_ms"]["batch"]) == {1}


def test_the_decoder_fits_latents_alone() -> None:
    said = mistake(bench("speed", "--decoder", "sd-vae", "--shape", "1x8x8", "--net", "N/4", "--device", "cpu"))
    assert "latents of 4 channels" in said


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


# Ratios and the tables


def measurement(method: str, variant: str, rounds: list[float], **more: Any) -> results.Measurement:
    _, middle, _ = results.quartiles(rounds)
    return results.Measurement(
        work="train", method=method, variant=variant, column="best", net="B/4", precision="fp32", batch=8, metric="step_ms",
        value=1e3 * middle, unit="ms", better="min", rounds=tuple(rounds), started_at="", **more,
    )  # fmt: skip


def test_a_ratio_is_of_rounds_and_not_of_medians() -> None:
    """A machine that slows down tenfold half way: medians of each would say 1.1, the rounds say 2."""
    slow = [1.0, 1.1, 10.0, 11.0, 12.0]
    rows = [measurement("flow_matching", "optimised", slow), measurement("soflow", "optimised", [2 * s for s in slow])]
    rows += [measurement("soflow", "published", [3 * s for s in slow])]
    found = reports_speed.ratios(frame_of(rows)).set_index(["method", "variant"])
    assert found.loc[("soflow", "optimised"), "cost"] == pytest.approx(2)
    assert found.loc[("soflow", "optimised"), "cost_high"] == pytest.approx(2)
    assert found.loc[("soflow", "optimised"), "gain"] == pytest.approx(1.5)
    assert math.isnan(found.loc[("soflow", "published"), "gain"])
    assert found.loc[("flow_matching", "optimised"), "cost"] == 1


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


# The file


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    rows = [measurement("soflow", "optimised", [1.0, 2.0, 3.0], status="ok", noisy=True)]
    results.write(tmp_path / "speed.parquet", rows, {"machine": {"device": "x"}})
    frame, description = results.read(tmp_path / "speed.parquet")
    assert list(frame["rounds"].iloc[0]) == [1.0, 2.0, 3.0]
    assert bool(frame["noisy"].iloc[0])
    assert description["machine"] == {"device": "x"}


@pytest.mark.parametrize("content", [b"no parquet", b""])
def test_a_foreign_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "speed.parquet").write_bytes(content)
    with pytest.raises(BenchError, match="Cannot read"):
        results.read(tmp_path / "speed.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "speed.parquet")
    with pytest.raises(BenchError, match="not of `bench speed`"):
        results.read(tmp_path / "speed.parquet")


# The command line


def test_the_command_measures_writes_and_prints(tmp_path: Path) -> None:
    done = bench(
        "speed", "soflow", "flow_matching", "--net", "N/4", "--shape", "4x8x8", "--classes", "10", "--batch", "8", "--seconds",
        "0.01", "--steps", "1", "--sample-batch", "1", "--device", "cpu", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Training step: N/4, fp32, batch 8" in done.output
    assert max(len(line) for line in done.output.splitlines() if "README.md beside it" not in line) <= 80
    frame, description = results.read(tmp_path / "out" / sweep.FILE)
    assert set(frame["method"]) == {"", "soflow", "flow_matching"}
    assert description["hyperparameters"]["soflow"]["guidance"] == 3.0, "the paper's, not bench.toml's of the digits"
    assert (tmp_path / "out" / "README.md").read_text().startswith("# What the methods cost on")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--variant", "quick"], "Unknown variant 'quick'"),
        (["--precision", "fp8"], "Unknown precision 'fp8'"),
        (["--net", "Z/9"], "Unknown net 'Z/9'"),
        (["--net", "B/4", "--shape", "4x30x30"], "does not divide"),
        (["--shape", "4x32"], "--shape 4x32"),
        (["--sample-batch", "0"], "--sample-batch 0"),
        (["--minutes", "0"], "--minutes 0"),
        (["--minutes", "nan"], "--minutes nan"),
        (["--seconds", "inf"], "--seconds inf"),
        (["--seconds", "0"], "--seconds 0"),
        (["--memory", "nan", "--max-batch"], "--memory nan"),
        (["--set", "train.batch=64"], "--set train.batch=64 without --config"),
        (["--memory", "3"], "--memory without --max-batch"),
        (["--decoder", "mine"], "Unknown decoder"),
        (["--device", "cuda:7"], "cuda:7"),
        (["nothing"], "Unknown method 'nothing'"),
    ],
)
def test_mistakes_are_named_before_anything_is_measured(words: list[str], said: str, tmp_path: Path) -> None:
    assert said in mistake(bench("speed", *words, "--root", str(tmp_path)))
    assert not (tmp_path / "speed").exists()


def test_the_file_does_not_say_whose_machine_it_was() -> None:
    from bench.console_speed import as_typed

    assert as_typed(["speed", "--out=/home/somebody/x", "--root", "/home/somebody/y", "--net", "B/4"]) == (
        "bench speed --out=x --root y --net B/4"
    )


def test_what_is_not_reached_starts_no_process_and_is_marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[str] = []

    def apart(what: str, *_: Any, **__: Any) -> Any:
        started.append(what)
        return {"device": "a device"}

    monkeypatch.setattr(sweep, "in_own_process", apart)
    sweep.sweep(tiny(minutes=1e-9), tmp_path, "bench speed", lambda _: None)
    frame, _ = results.read(tmp_path / sweep.FILE)
    assert started == ["looks at the device"]
    assert set(frame["status"]) == {"skipped"}
    assert set(frame["reason"]) == {training.BUDGET_SPENT}
    assert len(frame) == len(sweep.groups(TINY))


def test_a_group_that_hangs_is_ended() -> None:
    from bench.apart import in_own_process

    with pytest.raises(RunFailed, match="was ended after 1 seconds"):
        in_own_process("waits", time.sleep, 60, limit=1)


def test_times_stay_where_the_rest_of_a_cell_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> int:
        raise RuntimeError("the profiler is not there")

    monkeypatch.setattr(training.held, "added_bytes", broken)
    found = frame_of(training.measure(tiny(methods=("flow_matching",), variants=()), "N/4", "fp32", CPU, math.inf))
    train = found[found["work"] == "train"].set_index("metric")
    assert set(train.loc["step_ms", "status"]) == {"ok"}
    assert set(train.loc["peak_bytes", "status"]) == {"failed"}
    assert "the profiler is not there" in train.loc["peak_bytes", "reason"].iloc[0]


def test_shapes_and_lists() -> None:
    assert parse_shape("4x32x32") == (4, 32, 32)
    assert split(["B/4,B/2", "XL/2", "B/4"]) == ("B/4", "B/2", "XL/2")
