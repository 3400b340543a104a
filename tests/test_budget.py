"""Cost curves and budgets, from rows made up so that the right answer is known."""

import random
from pathlib import Path
from typing import Any

import pytest

from bench import rows
from bench.errors import BenchError
from bench.store import Root
from command_line import bench, mistake
from reports import budget, tables
from reports.budget import Answer, answer, best
from reports.curves import Panel, panels
from result_rows import described, failed, frame, made_up, row, save

GPU, OTHER = "NVIDIA H100 80GB HBM3", "NVIDIA H200"
HOUR = 3600.0


def time_of(method: str, hours: float, images: int, seed: int = 0, **more: Any) -> rows.Row:
    """`hours` of one process."""
    return row(method, seed, "train_seconds", hours * HOUR, images=images, unit="s", **({"device": GPU} | more))


def memory_of(method: str, gigabytes: float, seed: int = 0, **more: Any) -> rows.Row:
    return row(method, seed, "train_peak_bytes", gigabytes * 1e9, unit="bytes", **({"device": GPU} | more))


def run_of(
    method: str, scores: list[float], hours: list[float], gigabytes: float = 20.0, seed: int = 0, **more: Any
) -> list[rows.Row]:
    """One run: a snapshot after each 1000 images, with its score at one step and its time."""
    found = [row(method, seed, value=score, images=1000 * k, **more) for k, score in enumerate(scores, 1)]
    found += [time_of(method, time, 1000 * k, seed, **more) for k, time in enumerate(hours, 1)]
    return [*found, memory_of(method, gigabytes, seed, images=1000 * len(scores), **more)]


SLOW = run_of("meanflow", [8.0, 4.0, 2.0, 1.0], [2.0, 4.0, 6.0, 8.0], 40.0)  # better in the end
FAST = run_of("soflow", [6.0, 5.0, 4.5, 4.0], [1.0, 2.0, 3.0, 4.0], 20.0)  # better at first


def only(given: list[rows.Row], **more: Any) -> Answer:
    [found] = best(frame(*given), **more)
    return found


def chosen(found: Answer) -> list[tuple[str, int, float]]:
    """(line, images, score) of what fits, best first."""
    return [(c.line, c.point.images, c.point.cell.mean or 0.0) for c in found.fitting if c.point]


# What fits


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (1.0, [("soflow", 1000, 6.0)]),
        (1.999, [("soflow", 1000, 6.0)]),
        (2.0, [("soflow", 2000, 5.0), ("meanflow", 1000, 8.0)]),
        (3.999, [("soflow", 3000, 4.5), ("meanflow", 1000, 8.0)]),
        (4.0, [("meanflow", 2000, 4.0), ("soflow", 4000, 4.0)]),  # level: by name
        (6.0, [("meanflow", 3000, 2.0), ("soflow", 4000, 4.0)]),
        (100.0, [("meanflow", 4000, 1.0), ("soflow", 4000, 4.0)]),
        (None, [("meanflow", 4000, 1.0), ("soflow", 4000, 4.0)]),
    ],
)
def test_the_last_snapshot_within_the_hours(hours: float | None, expected: list[tuple[str, int, float]]) -> None:
    assert chosen(only([*SLOW, *FAST], hours=hours)) == expected


def test_just_below_the_first_snapshot_nothing_fits_and_the_command_says_how() -> None:
    given = frame(*SLOW)
    [found] = best(given, {SLOW[0].run: described(SLOW[0].run, "meanflow")}, hours=0.5)
    [choice] = found.choices
    assert choice.reason == "its first snapshot, of 1,000 images, took 2 GPU-hours"
    assert choice.command == "bench run meanflow --set loop.snapshots=16 --root OTHER"  # 8 hours in sixteenths
    assert found.verdict == "Nothing fits."


def test_the_last_one_counts_also_where_an_earlier_one_was_luckier() -> None:
    assert chosen(only(run_of("soflow", [1.0, 3.0, 2.0], [1.0, 2.0, 3.0]), hours=2.5)) == [("soflow", 2000, 3.0)]


def test_memory_rules_out_a_method_with_the_reason() -> None:
    found = only([*SLOW, *FAST], memory=39.999)
    assert chosen(found) == [("soflow", 4000, 4.0)]
    assert [c.reason for c in found.choices if not c.point] == ["training takes 40 GB"]
    assert found.verdict == "Only soflow fits."
    assert len(only([*SLOW, *FAST], memory=40).fitting) == 2


def test_more_is_better_where_it_is() -> None:
    accuracy: dict[str, Any] = {"metric": "class_accuracy", "better": "max"}
    given = [row(m, value=v, images=1000, **accuracy) for m, v in (("soflow", 0.9), ("meanflow", 0.5))]
    assert [c.line for c in only(given, metric="class_accuracy").fitting] == ["soflow", "meanflow"]


def test_hours_are_those_of_all_processes() -> None:
    eight = [row(value=1.0, images=1000), time_of("soflow", 1.0, 1000, world_size=8)]
    assert not only(eight, hours=7.999).fitting
    assert only(eight, hours=8.0).fitting


def test_every_training_seed_has_to_fit() -> None:
    """One at 1.9 hours and one at 2.1: with 2 hours only the first snapshot is within reach of both."""
    given = run_of("soflow", [6.0, 5.0], [1.0, 1.9]) + run_of("soflow", [8.0, 7.0], [1.1, 2.1], seed=1)
    assert chosen(only(given, hours=2.0)) == [("soflow", 1000, 7.0)]
    found = only(given, hours=2.1)
    assert chosen(found) == [("soflow", 2000, 6.0)]
    [choice] = found.choices
    assert choice.texts[0] == "6.0 ± 1.4"  # over the seeds, at that snapshot alone
    assert choice.texts[3] == "2.00 ± 0.14"
    assert not only(run_of("soflow", [1.0], [1.0], 20) + run_of("soflow", [1.0], [1.0], 30, seed=1), memory=25).fitting


# Devices, seeds, recipes


def test_devices_are_never_mixed() -> None:
    two = run_of("soflow", [6.0], [1.0]) + run_of("meanflow", [3.0], [1.0], device=OTHER)
    found = {panel.device: [curve.line for curve in panel.curves] for panel in panels(frame(*two))}
    assert found == {GPU: ["soflow"], OTHER: ["meanflow"]}


def test_memory_of_another_device_is_not_known() -> None:
    given = [row(value=1.0), time_of("soflow", 1.0, 431_232), memory_of("soflow", 20.0, device=OTHER)]
    [choice] = answer(panels(frame(*given))[0], memory=30.0).choices
    assert choice.reason == f"its peak memory was not measured on {GPU}"


def test_hours_that_do_not_add_up_are_not_used() -> None:
    sessions = [{"device": GPU}, {"device": OTHER}]
    moved = run_of("soflow", [6.0], [1.0])
    [panel] = panels(frame(*moved), {moved[0].run: described(moved[0].run, "soflow") | {"sessions": sessions}})
    assert panel.unit == "hours"
    [choice] = answer(panel, hours=5.0).choices
    assert choice.reason == f"trained on {GPU} and {OTHER}, whose hours do not add up"
    grown = [row(value=1.0, images=i) for i in (1000, 2000)]
    grown += [time_of("soflow", 1.0, 1000, world_size=1), time_of("soflow", 2.0, 2000, world_size=2)]
    assert "1 and 2 processes" in answer(panels(frame(*grown))[0], hours=5.0).choices[0].reason


@pytest.mark.parametrize(
    ("device", "unit"),
    [
        ("AMD EPYC (2 threads)", "CPU-hours"),
        ("AMD EPYC (1 of 2 threads)", "CPU-hours"),
        ("AMD EPYC (4 threads on 2)", "CPU-hours"),
        ("Some CPU (1 thread)", "CPU-hours"),
        (GPU, "GPU-hours"),
    ],
)
def test_hours_are_named_after_the_device(device: str, unit: str) -> None:
    [panel] = panels(frame(*run_of("soflow", [1.0], [1.0], device=device)))
    assert panel.unit == unit


def test_a_snapshot_of_unknown_time_is_no_answer_about_hours() -> None:
    """An older one: its score is there, its time is not, and the time of the next is no guess for it."""
    given = [r for r in FAST if not (r.metric == "train_seconds" and r.images == 2000)]
    assert chosen(only(given, hours=2.5)) == [("soflow", 1000, 6.0)]
    assert chosen(only([*given, *SLOW], hours=100.0))[1][1] == 4000


def test_a_method_without_times_stays_in_with_the_reason_and_the_command() -> None:
    untimed = row("flow_matching", value=0.5, images=1000)
    known = {untimed.run: described(untimed.run, "flow_matching")}
    [found] = best(frame(*FAST, untimed), known, hours=10.0)
    [other] = [c for c in found.choices if not c.point]
    assert (other.line, other.reason) == ("flow_matching", "its training time was not recorded")
    assert other.command == "bench run flow_matching"


def test_a_run_that_failed_is_named() -> None:
    found = only([*FAST, failed("meanflow", 0)], hours=10.0)
    assert [(c.line, c.reason) for c in found.choices if not c.point] == [("meanflow", "the loss is not finite")]


def test_trainings_of_other_lengths_and_recipes_are_lines_of_their_own() -> None:
    """A training of 60 epochs is no snapshot of one of 240: schedules follow the whole length."""
    short = [row(value=1.0, images=1000, epochs=60.0, run="short"), time_of("soflow", 0.5, 1000, epochs=60.0, run="short")]
    known = {
        run: described(run, "soflow") | {"config": {"run": {"methods": ["soflow"], "epochs": epochs}}}
        for run, epochs in (("short", 60.0), (FAST[0].run, 240.0))
    }
    [found] = best(frame(*FAST, *short), known, hours=1.0)
    assert [c.line for c in found.fitting] == ["soflow (epochs=60.0)", "soflow (epochs=240.0)"]


def test_steps_are_those_best_for_each_or_those_asked_for() -> None:
    many = row("meanflow", value=0.5, images=4000, steps=4)
    found = only([*SLOW, *FAST, many], hours=10.0)
    assert [(c.line, c.texts[1]) for c in found.fitting] == [("meanflow", "4"), ("soflow", "1")]
    assert chosen(only([*SLOW, *FAST, many], hours=10.0, steps=1))[0] == ("meanflow", 4000, 1.0)


# How sure


def test_a_difference_over_seeds_is_told_from_none() -> None:
    clear = [
        r for m, v in (("soflow", 1.0), ("meanflow", 9.0)) for s in range(3) for r in run_of(m, [v + s / 10], [1.0], seed=s)
    ]
    found = only(clear, hours=1.0)
    assert found.verdict.startswith("soflow is best. meanflow − soflow = 8.00 (95 % interval ")
    assert found.verdict.endswith(": distinguishable.")
    assert [c.level for c in found.choices] == [False, False]
    same = [
        r
        for m in ("soflow", "meanflow")
        for s in range(3)
        for r in run_of(m, [5.0 + (s if m == "soflow" else 2 - s)], [1.0], seed=s)
    ]
    found = only(same, hours=1.0)
    assert found.verdict.endswith(": not distinguishable.")
    assert [c.level for c in found.choices] == [False, True]
    assert found.choices[1].texts[0].startswith("≈ ")


def test_one_seed_each_is_paired_on_the_same_noises_and_settles_nothing() -> None:
    given = made_up({"soflow": 3.0, "meanflow": 5.0}, draw=random.Random(0), own=0.01, images=1000)
    given += [time_of(m, 1.0, 1000) for m in ("soflow", "meanflow")]
    found = only(given, hours=1.0)
    assert found.verdict.startswith("soflow is ahead.")
    assert "one training seed; these networks are distinguishable" in found.verdict


def test_networks_at_different_steps_are_paired_too() -> None:
    draw = random.Random(0)
    given = made_up({"soflow": 3.0}, draw=draw, own=0.01, images=1000)
    given += made_up({"meanflow": 5.0}, draw=random.Random(0), own=0.01, images=1000, steps=4)
    assert "these networks are distinguishable" in only(given).verdict


# Mistakes


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({"hours": -1.0}, "--hours -1"),
        ({"hours": 0.0}, "--hours 0"),
        ({"hours": float("nan")}, "--hours nan"),
        ({"memory": -40.0}, "--memory -40"),
        ({"steps": -1}, "--steps -1"),
        ({"metric": "fdi"}, "did you mean 'fid'?"),
        ({"metric": "recall"}, "No run has a recall"),
        ({"steps": 3}, "at 3 steps"),
    ],
)
def test_mistakes(asked: dict[str, Any], given: str) -> None:
    with pytest.raises(BenchError) as caught:
        best(frame(*FAST), **asked)
    assert given in caught.value.given


def test_what_no_row_has_is_a_mistake_that_names_the_command(tmp_path: Path) -> None:
    root = ("--root", str(tmp_path))
    assert "bench run" in mistake(bench("budget", *root))  # nothing at all
    save(Root(tmp_path), [row(value=1.0)])
    for asked in ("hours", "memory"):
        said = mistake(bench("budget", f"--{asked}", "10", *root))
        assert f"--{asked}, but no run has" in said
        assert "`bench run soflow`" in said


# Beside them


def test_suggested_budgets_leave_out_what_nothing_fits() -> None:
    def of(hours: list[float]) -> list[float]:
        [panel] = panels(frame(*run_of("soflow", [1.0] * len(hours), hours)))
        return budget.suggested(panel)

    assert of([1.0, 2.0, 3.0, 4.0]) == [1.0, 2.0, 4.0]
    assert of([2.0, 4.0]) == [2.0, 4.0]
    assert of([4.0]) == [4.0]
    assert budget.suggested(Panel("digits", "T/2", "p", "", (), ())) == []


def test_tables_are_those_of_the_last_snapshot_alone() -> None:
    last = [r for r in (*SLOW, *FAST) if r.images == 4000]
    for of in (tables.quality, tables.cost):
        assert of(frame(*SLOW, *FAST)) == of(frame(*last))
