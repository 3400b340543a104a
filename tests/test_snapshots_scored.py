"""Snapshots on the way are scored, each, and timed; tables, lists and `bench sample` keep to the newest."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench import checkpoint, evaluate, explain, pipeline, provenance, rows, snapshots
from bench.errors import Interrupted, NotFinite, RunFailed
from bench.store import Root
from command_line import bench, mistake
from conftest import one_run, tiny_run, tiny_suite
from reports import tables
from reports.lines import records
from short_trainings import SEEN, TRAIN_ONLY, of_run, stop_at


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, digits: Any) -> tuple[Root, Any]:
    """One run with four snapshots, scored and timed. Read only."""
    root = tmp_path_factory.mktemp("measured")
    suite = tiny_suite("loop.snapshots=4", "loop.log_images=320")
    one_run(suite, root, digits)
    return Root(root), suite


# Scored, each


def test_every_snapshot_has_its_scores_and_its_time(measured: tuple[Root, Any]) -> None:
    frame = of_run(measured[0])
    for steps in (1, 2):
        of_steps = frame[(frame["metric"] == "frechet_distance") & (frame["steps"] == steps)]
        assert sorted(of_steps["images"]) == SEEN
        assert of_steps["value"].nunique() == 4
    times = frame[frame["metric"] == "train_seconds"].sort_values("images")
    (run,) = measured[0].run_directories()
    assert times["images"].tolist() == SEEN
    assert times["value"].tolist() == [spent["seconds"] for _, spent in sorted(snapshots.costs(run).items())]
    assert times["value"].iloc[-1] == run.read_status()["seconds"]
    assert frame[frame["metric"] == "train_peak_bytes"]["images"].tolist() == [1824]


def test_tables_show_the_newest_alone(measured: tuple[Root, Any], tmp_path: Path, digits: Any) -> None:
    """The same tables as of a run without any on the way; only what is timed differs."""
    root, suite = measured
    one_run(tiny_suite("loop.log_images=320"), tmp_path, digits)
    four, one = (tables.quality(*rows.read(place.results)) for place in (root, Root(tmp_path)))
    assert [[cell.text for cell in line.cells] for line in four[0].lines] == [
        [cell.text for cell in line.cells] for line in one[0].lines
    ]
    assert [t.note for t in four] == [t.note for t in one]
    [cost] = tables.cost(*rows.read(root.results))
    (time_of,) = [line.cells[i] for line in cost.lines for i in cost.column_indices("train_seconds")]
    assert time_of.values == (root.run(suite.runs()[0].name).read_status()["seconds"],)
    grids = root.run(suite.runs()[0].name).samples
    ours = Root(tmp_path).run(suite.runs()[0].name).samples
    assert {p.name: p.read_bytes() for p in grids.iterdir()} == {p.name: p.read_bytes() for p in ours.iterdir()}


def test_the_same_command_again_measures_nothing(measured: tuple[Root, Any], digits: Any) -> None:
    root, suite = measured
    before, said = of_run(root), []
    one_run(suite, root.path, digits, say=said.append)
    pd.testing.assert_frame_equal(of_run(root), before)
    assert sum("scored already" in line for line in said) == 4
    assert sum("after 480 images" in line for line in said) == 1


def test_what_one_lacks_is_scored_alone(measured: tuple[Root, Any], tmp_path: Path, digits: Any) -> None:
    """An evaluation that ended after the first of them goes on with the others."""
    root, suite = measured
    name = suite.runs()[0].name
    frame, description = rows.read_file(root.result_file(name))
    kept = [row for row in records(frame) if row.images in (480, 1824) or row.metric == "train_seconds"]
    rows.write(Root(tmp_path).result_file(name), kept, description)
    (tmp_path / "runs").symlink_to(root.runs, target_is_directory=True)
    one_run(suite, tmp_path, digits, pipeline.Stages(train=False, speed=False))
    again = rows.read(tmp_path / "results")[0]
    old, new = (f.set_index(["images", "metric", "steps"]).sort_index() for f in (frame, again))
    pd.testing.assert_series_equal(old["value"], new["value"])
    times = new["started_at"].groupby("images").nunique()
    assert set(times.index) == set(SEEN)


def test_one_that_can_not_be_scored_does_not_hold_up_the_others(tmp_path: Path, digits: Any, monkeypatch: Any) -> None:
    suite, whole, order = tiny_suite("loop.snapshots=4"), evaluate.score, []

    def broken(model: Any, *given: Any) -> Any:
        order.append(model.images)
        if model.images == 928:
            raise NotFinite("images 0 to 63 at 1 step are not finite")
        return whole(model, *given)

    monkeypatch.setattr(evaluate, "score", broken)
    with pytest.raises(RunFailed, match="are not finite"):
        one_run(suite, tmp_path, digits, pipeline.Stages(speed=False))
    frame = of_run(Root(tmp_path))
    ok = frame[(frame["metric"] == "frechet_distance") & (frame["status"] == "ok")]
    assert sorted(set(ok["images"])) == [480, 1376, 1824]
    assert set(frame[frame["status"] == "failed"]["images"]) >= {928}
    assert list(dict.fromkeys(order)) == [1824, *SEEN[:3]], "the one that the tables show is scored first"


def test_a_run_from_before_stays_valid_and_is_told(tmp_path: Path, digits: Any) -> None:
    """Without the file beside the weights, as older ones are: nothing is trained again, and its time is that of status.json."""
    one_run(tiny_suite(), tmp_path, digits, TRAIN_ONLY)
    (run,) = Root(tmp_path).run_directories()
    snapshots.cost_file(run, 1824).unlink()
    said: list[str] = []
    suite = tiny_suite("loop.snapshots=4")
    one_run(suite, tmp_path, digits, say=said.append)
    assert any("has 1 of 4 snapshots; only a new training makes the others" in line for line in said)
    frame = of_run(Root(tmp_path))
    assert frame[frame["metric"] == "train_seconds"]["value"].tolist() == [run.read_status()["seconds"]]
    checkpoint.save_snapshot(run.snapshot(480), checkpoint.load_snapshot(run.snapshot(1824)))  # of unknown time
    assert set(snapshots.costs(run)) == {1824}


# Where others look


def test_a_row_on_the_way_is_told_apart(measured: tuple[Root, Any]) -> None:
    root, suite = measured
    listed = bench("list", "rows", "--root", str(root.path)).stdout
    assert listed.count("after 480 images") == listed.count("after 928 images") > 0
    assert "after 1,824 images" not in listed
    found = explain.find(records(of_run(root)), f"{suite.runs()[0].name}:frechet_distance:1:0")
    assert found.images == 1824


def test_an_unfinished_run_is_not_sampled(tmp_path: Path, digits: Any) -> None:
    with pytest.raises(Interrupted):
        one_run(tiny_suite("loop.snapshots=4"), tmp_path, digits, TRAIN_ONLY, watch=lambda _, a, b: stop_at(512)(a, b))
    (run,) = Root(tmp_path).run_directories()
    assert snapshots.images_seen(run) == [480]
    assert "no final snapshot" in mistake(bench("sample", run.name, "--root", str(tmp_path)))


def test_the_command_makes_them_again() -> None:
    suite = tiny_suite("loop.snapshots=4")
    assert "--set loop.snapshots=4" in provenance.command(suite.runs()[0], suite)
    assert "loop.snapshots" not in provenance.command(tiny_run(), tiny_suite())
