"""What is folded beneath a table, and the list of all runs: as files they say what the page says, and no less."""

import csv
import json
from pathlib import Path

import pytest

from bench.store import Root
from reports.certificate import certificate
from reports.grids import DASH
from reports.render import render
from reports.site import exports
from reports.site.content import Content, gather
from reports.site.links import run_page
from reports.table import Table
from result_rows import described, realistic, row, save
from site_pages import Page, table_rows

DATA = "da7a" * 16


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Content]:
    folder = tmp_path_factory.mktemp("folds")
    root, given = Root(folder / "root"), realistic()
    near = {("soflow", 0): 0.50, ("soflow", 1): 0.52, ("flow_matching", 0): 0.51, ("flow_matching", 1): 0.515}
    given += [row(*of, "precision", value, steps=1, sample_seed=0, better="max") for of, value in near.items()]
    known = {r.run: described(r.run, r.method, train={"batch": 64 if r.method == "soflow" else 128}) for r in given}
    save(root, given, {run: description | {"data_digest": DATA} for run, description in known.items()})
    stopped = root.run("stopped")
    stopped.path.mkdir(parents=True)
    asked = {"methods": ["soflow"], "net": "T/2", "dataset": "digits", "epochs": 3.0, "seed": 7}
    made = {"commit": "fedcba9876543210", "dirty": True, "command": "bench run soflow --seed 7", "device": "a GPU"}
    stopped.provenance.write_text(json.dumps(made | {"config": {"run": asked}}))
    stopped.write_status("stopped", images=2, reason="SIGTERM")
    return render(root, folder / "site").parent, gather(root)


def lines(file: Path) -> list[list[str]]:
    return list(csv.reader(file.read_text(encoding="utf-8").splitlines()))


def tables(content: Content) -> list[Table]:
    return [*content.qualities, *content.costs]


def test_the_certificate_has_every_condition_in_full(site: tuple[Path, Content]) -> None:
    folder, content = site
    for table in tables(content):
        found = certificate(table, content.descriptions)
        [heads, *kept, own] = lines(folder / "data" / f"{exports.certificate_name(table)}.csv")
        assert heads == ["condition", "parity", *found.lines]
        assert [line[0] for line in kept] == [condition.name for condition in found.conditions]
        by_name = {name: rest for name, *rest in kept}
        assert by_name["data digest"] == ["equal", DATA, DATA, DATA], "the page shortens it"
        assert by_name["batch"] == ["not equal", *("64" if name == "soflow" else "128" for name in found.lines)]
        assert by_name["processor"] == ["not recorded"] * 4
        assert own[2:] == ["p 1"] * 3


def test_the_differences_are_those_that_were_judged(site: tuple[Path, Content]) -> None:
    """Of the page and of the file: one a pair that the rows answer, with the ends of its interval."""
    folder, content = site
    judged: dict[str, list[list[str]]] = {}
    for table in tables(content):
        for i, column in enumerate(table.columns):
            pairs = [pair for pair in table.against_best(i) if pair.difference]
            for pair in pairs:
                value, low, high, p = pair.texts(column.divisor) or ("",) * 4
                line = [column.full_head, f"{pair.first} − {pair.second}", value, f"{low} to {high}", p, pair.verdict]
                judged.setdefault(exports.differences_name(table), []).append(line)
    assert {name: lines(folder / "data" / f"{name}.csv")[1:] for name in judged} == judged
    pages = [(folder / name).read_text(encoding="utf-8") for name in ("index.html", "cost.html")]
    shown = [cells for text in pages for cells in table_rows(text) if "distinguishable" in cells[-1]]
    assert shown == [line for found in judged.values() for line in found]
    assert {"distinguishable", "not distinguishable"} <= {line[-1] for line in shown}


def test_the_list_of_runs_says_what_ran_and_how_to_run_it_again(site: tuple[Path, Content]) -> None:
    folder, content = site
    [heads, *kept] = lines(folder / "data" / "all-runs.csv")
    by_run = {line[0]: dict(zip(heads, line, strict=True)) for line in kept}
    assert list(by_run) == [entry.run for entry in content.runs]
    failed, stopped = by_run["digits-meanflow-T-2-s1-abc"], by_run["stopped"]
    assert (failed["state"], failed["rows"], failed["command"]) == ("failed", "1", "bench run meanflow")
    expected = {"state": "stopped, no result rows", "method": "soflow", "data set": "digits", "net": "T/2", "epochs": "3"}
    expected |= {"training seed": "7", "rows": "0", "device": "a GPU", "commit": "fedcba9876+", "started": DASH}
    assert stopped == expected | {"run": "stopped", "command": "bench run soflow --seed 7"}
    page = Page((folder / "provenance.html").read_text(encoding="utf-8"))
    assert [cells for cells in table_rows(page.text) if cells[0] in by_run] == [line[:-1] for line in kept]
    assert {run_page(run) for run in by_run} <= set(page.links)
