"""`bench explain`: what differs between two rows, and that the measured effects add up to what the second row says."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from bench import explain, rows
from bench.config import RunConfig, Suite
from bench.errors import BenchError
from bench.rows import Row, row_id
from bench.store import Root
from command_line import bench
from conftest import TINY, one_run, tiny_suite
from reports.lines import records
from result_rows import described, frame, row

Finished = tuple[Root, list[RunConfig], Suite]
OTHER = ("eval.label_rule=balanced", "eval.quantiser=127.5x+127.5", "eval.samples=70", "eval.steps=[1,2]")


@pytest.fixture(scope="module")
def measured(finished: Finished, digits: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Root, list[Row], Any]:
    """A root where soflow is scored under two protocols that differ in three conditions."""
    folder = tmp_path_factory.mktemp("explain") / "root"
    shutil.copytree(finished[0].path, folder)
    one_run(tiny_suite(*OTHER), folder, digits)
    found, descriptions = rows.read(Root(folder).results)
    return Root(folder), records(found), descriptions


def pick(found: list[Row], method: str, n: int, steps: int, metric: str = "frechet_distance") -> Row:
    return next(r for r in found if (r.method, r.n, r.steps, r.metric) == (method, n, steps, metric))


def test_effects_of_the_cheap_conditions_lead_to_the_second_value(measured: tuple[Root, list[Row], Any]) -> None:
    root, found, descriptions = measured
    a, b = pick(found, "soflow", 64, 1), pick(found, "soflow", 70, 2)
    differences = explain.differences(a, b, descriptions)
    assert {(d.section, d.field) for d in differences} == {
        ("row", "steps"), ("protocol", "samples"), ("protocol", "label_rule"), ("protocol", "quantiser"),
    }  # fmt: skip
    effects = {effect.field: effect for effect in explain.measure(a, b, descriptions, root, tiny_suite())}
    assert set(effects) == {"", "steps", "samples", "label_rule", "quantiser", "all of these"}
    assert effects[""].value == pytest.approx(a.value, rel=1e-6)
    assert effects["all of these"].value == pytest.approx(b.value, rel=1e-6)
    assert effects["steps"].value == pytest.approx(pick(found, "soflow", 64, 2).value, rel=1e-6)
    assert effects["label_rule"].change == "random -> balanced"
    for effect in list(effects.values())[1:]:
        assert effect.difference == pytest.approx(effect.value - effects[""].value)
        assert effect.difference != 0


def test_rows_of_two_methods_differ_in_their_configuration(measured: tuple[Root, list[Row], Any]) -> None:
    _, found, descriptions = measured
    a, b = pick(found, "soflow", 64, 1), pick(found, "meanflow", 64, 1)
    differences = explain.differences(a, b, descriptions)
    assert ("row", "method") in {(d.section, d.field) for d in differences}
    assert {d.section for d in differences} == {"row", "configuration"}
    guidance = next(d for d in differences if d.field == "methods.soflow.guidance")
    assert (guidance.first, guidance.second) == (1.0, None)
    assert not explain.cheap(differences)


def test_versions_data_and_code_are_compared() -> None:
    a, b = row("soflow", 0), row("soflow", 1, commit="fedcba")
    one, other = described(a.run, "soflow"), described(b.run, "soflow") | {"data_digest": "other", "versions": {"torch": "9"}}
    found = explain.differences(a, b, {a.run: one, b.run: other})
    assert {"data", "code", "versions"} <= {d.section for d in found}
    assert explain.differences(a, a, {a.run: one}) == []


def test_a_snapshot_that_is_gone_is_said(measured: tuple[Root, list[Row], Any], tmp_path: Path) -> None:
    _, found, descriptions = measured
    a, b = pick(found, "soflow", 64, 1), pick(found, "soflow", 70, 1)
    with pytest.raises(BenchError) as caught:
        explain.measure(a, b, descriptions, Root(tmp_path), tiny_suite())
    assert "snapshot" in caught.value.allowed
    assert "--no-measure" in caught.value.remedy


def test_a_snapshot_is_not_scored_under_other_conditions_than_it_says(measured: tuple[Root, list[Row], Any]) -> None:
    root, found, descriptions = measured
    a, b = pick(found, "soflow", 64, 1), pick(found, "soflow", 70, 1)
    changed = {run: dict(d) for run, d in descriptions.items()}
    conditions = explain.conditions(a, descriptions) | {"extractor_digest": "0" * 64}
    changed[a.run]["protocols"] = descriptions[a.run]["protocols"] | {a.protocol: conditions}
    with pytest.raises(BenchError, match="another extractor_digest"):
        explain.measure(a, b, changed, root, tiny_suite())


def test_unlike_values_are_not_subtracted() -> None:
    a, b = row("soflow", 0, "latency_ms", 3.0, steps=1, unit="ms"), row("soflow", 0, "frechet_distance", 1.0, steps=2)
    assert explain.cheap(explain.differences(a, b, {})) == []
    peak = row("soflow", 0, "frechet_distance", 1.0, steps=None)
    assert explain.cheap(explain.differences(peak, b, {})) == []


# Naming rows


def test_rows_are_found_by_id_and_by_place() -> None:
    found = records(frame(row("soflow", 0, steps=1), row("soflow", 0, steps=2), row("meanflow", 0, steps=1, sample_seed=3)))
    assert explain.find(found, row_id(found[1])) == found[1]
    assert explain.find(found, f"{found[0].run}:frechet_distance:2") == found[1]
    assert explain.find(found, f"{found[2].run}:frechet_distance:1:3") == found[2]
    with pytest.raises(BenchError, match="is 2 rows"):
        explain.find(found, f"{found[0].run}:frechet_distance")
    with pytest.raises(BenchError, match="did you mean"):
        explain.find(found, row_id(found[1])[:-1] + "-")
    with pytest.raises(BenchError, match="Unknown row"):
        explain.find([], "1a2b3c4d")


def test_the_verb_prints_differences_and_effects(measured: tuple[Root, list[Row], Any]) -> None:
    root, found, _ = measured
    names = [row_id(pick(found, "soflow", n, 1)) for n in (64, 70)]
    settings = [word for setting in TINY for word in ("--set", setting)]
    result = bench("explain", *names, "--root", str(root.path), *settings)
    assert result.exit_code == 0, result.output
    for text in (*names, "label_rule", "random -> balanced", "as it was", "all of these", "the row says"):
        assert text in result.stdout
    listed = bench("explain", *names, "--root", str(root.path), "--no-measure")
    assert "label_rule" in listed.stdout
    assert "as it was" not in listed.stdout
    rows_listed = bench("list", "rows", "--root", str(root.path))
    assert all(name in rows_listed.stdout for name in names)
    wrong = bench("explain", "x", names[0], "--root", str(root.path))
    assert wrong.exit_code == 2
    assert "Allowed: " in wrong.stderr
