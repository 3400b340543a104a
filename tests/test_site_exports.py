"""Tables of methods and runs as files: the same values as on their pages, under names of their own."""

import csv
import io
import json
import posixpath
import random
from pathlib import Path

import pytest

from bench.rows import row_id
from bench.store import Root, append_line
from reports.render import build
from reports.site.links import method_page, run_page
from result_rows import HOSTILE, described, made_up, realistic, row, save
from site_pages import Page
from training_logs import log


def records(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def taken(files: dict[str, bytes], place: str) -> dict[str, str]:
    """The files that a page offers, by "kind.end"; every one is there."""
    links = [link for link in Page(files[place].decode()).links if link.startswith("../data/")]
    found = [posixpath.normpath(posixpath.join(posixpath.dirname(place), link)) for link in links]
    assert set(found) <= set(files)
    assert len(found) == len(set(found))
    return {f"{Path(name).name.partition('-')[0]}{Path(name).suffix}": name for name in found}


def test_the_rows_of_a_run_are_a_file(tmp_path: Path) -> None:
    save(root := Root(tmp_path / "a"), given := realistic())
    [bad] = [r for r in given if r.status == "failed"]
    files = build([root], tmp_path / "site").files
    run = "digits-soflow-T-2-s0-abc"
    own = {row_id(r): r for r in given if r.run == run}
    shown = records(files[taken(files, run_page(run))["rows.csv"]])
    assert [line["id"] for line in shown] == [
        name.removeprefix("row-") for name in Page(files[run_page(run)].decode()).ids if name.startswith("row-")
    ]
    for line in shown:
        r = own[line["id"]]
        assert (line["metric"], float(line["value"]), line["protocol"]) == (r.metric, r.value, r.protocol)
        assert line["standard error"] == ("" if r.standard_error is None else repr(r.standard_error))
    assert len(shown) == len(own)
    [line] = [line for line in records(files[taken(files, run_page(bad.run))["rows.csv"]]) if line["status"] == "failed"]
    assert (line["value"], line["reason"]) == ("", bad.reason)


def test_a_run_without_rows_has_no_file(tmp_path: Path) -> None:
    save(root := Root(tmp_path / "a"), [row(value=1.0)])
    root.run("empty").write_status("running", images=0)
    files = build([root], tmp_path / "site").files
    assert taken(files, run_page("empty")) == {}
    assert not [name for name in files if "rows-empty" in name]


def test_the_tables_of_a_method_are_files(tmp_path: Path) -> None:
    root = Root(tmp_path / "a")
    runs = [f"digits-meanflow-T-2-s{seed}-abc" for seed in (0, 1)]
    config = {"config": {"train": {"batch": 64}, "methods": {"meanflow": {"omega": 2.5}}}}
    save(root, realistic(), {run: described(run, "meanflow") | config for run in runs})
    directory = root.run(runs[0])
    directory.write_status("finished", images=10)
    for record in log([1, 1, 1, 1, 8, 1], [3, 2, 1.25, 1, 1, 0.8751]):
        append_line(directory.train_log, json.dumps(record))
    files = build([root], tmp_path / "site").files
    found = taken(files, method_page("meanflow"))
    for kind in ("settings", "scores", "stability"):
        assert {f"{kind}.{end}" for end in ("csv", "md", "tex")} <= set(found)
        assert found[f"{kind}.csv"].replace(".csv", ".js") in files
    settings = {line["setting"]: line for line in records(files[found["settings.csv"]])}
    omega = settings["omega"]
    assert (omega["meanflow"], omega["not as in the paper"]) == ("2.5", "meanflow")
    assert float(omega["the paper"]) != 2.5
    assert settings["p"]["not as in the paper"] == "–"
    scores = records(files[found["scores.csv"]])
    page = files[method_page("meanflow")].decode()
    for line in scores:
        text = line["1 step"].partition(" ")[0]
        assert text in page
    assert [line["score"].split()[0] for line in scores] == ["Fréchet", "kernel", "class"]
    [trained, bare] = records(files[found["stability.csv"]])
    assert (trained["final mse"], trained["lowest mse"], trained["epoch of the lowest mse"]) == ("0.8751", "0.8751", "6")
    assert (trained["highest mse"], trained["epoch of the highest mse"]) == ("3", "1")
    assert (trained["largest gradient norm"], trained["epoch of the largest gradient norm"]) == ("8", "5")
    assert (trained["spikes"], trained["not finite"], trained["failures"]) == ("1", "0", "none")
    assert (bare["final mse"], bare["spikes"]) == ("–", "–")
    assert bare["failures"] == "training failed: the loss is not finite; no training log here"


@pytest.mark.parametrize("end", ["csv", "md", "tex", "js"])
def test_every_method_s_files_are_its_own(end: str, tmp_path: Path) -> None:
    names = {HOSTILE: 1.0, "../../mine": 2.0, "a": 1.0, "a-1": 2.0, "A": 3.0, "x" * 300: 1.0}
    save(root := Root(tmp_path / "a"), made_up(names, draw=random.Random(0)))
    files = build([root], tmp_path / "site").files
    for kind in ("scores", "stability"):
        own = [name for name in files if name.startswith(f"data/{kind}-") and name.endswith(f".{end}")]
        assert len({name.lower() for name in own}) == len(names), "and on a file system that knows no capitals"
        assert all("." not in Path(name).stem for name in own), "a dot would end the table's name in an address"
