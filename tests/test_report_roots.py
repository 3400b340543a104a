"""Several result folders in one report: what is the same in two of them once, what contradicts itself told apart."""

from pathlib import Path
from typing import Any

import pytest

from bench import rows
from bench.store import Root
from reports.render import build
from reports.site import reading
from reports.site.content import Content, gather
from reports.site.folders import machine_of, names_of
from result_rows import HOSTILE, described, row, save
from site_browser import NO_BROWSER, browser_page
from site_pages import leading_nowhere, pages_of

RUN = "digits-soflow-T-2-s0-abc"
OTHER = "digits-meanflow-T-2-s0-abc"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAUSE", 0.0)


@pytest.fixture
def a(tmp_path: Path) -> Root:
    return Root(tmp_path / "a")


@pytest.fixture
def b(tmp_path: Path) -> Root:
    return Root(tmp_path / "b")


def trained(begun: str, device: str = "cpu", **more: Any) -> dict[str, dict[str, Any]]:
    """Descriptions of RUN, whose training began then and there."""
    return {RUN: described(RUN, "soflow") | {"started_at": begun, "device": device} | more}


def values(content: Content) -> dict[str, list[float]]:
    """Of the first column, by line."""
    return {line.name: list(line.cells[0].values) for table in content.qualities for line in table.lines}


# Merging


def test_runs_of_two_folders_share_a_table(a: Root, b: Root, tmp_path: Path) -> None:
    save(a, [row("soflow", value=1.0)])
    save(b, [row("meanflow", value=2.0)])
    content = gather(a, b)
    assert values(content) == {"soflow": [1.0], "meanflow": [2.0]}
    assert content.origins == {RUN: ("a",), OTHER: ("b",)}
    assert not content.conflicts + content.left_out
    text = pages_of(build([a, b], tmp_path / "site").index.parent)["provenance.html"].text
    section = text.partition('id="folders"')[2].partition("</section>")[0]
    assert [">a<" in section, ">b<" in section, "a processor" in section] == [True] * 3


def test_equal_rows_are_one_run_whenever_they_were_measured(a: Root, b: Root) -> None:
    save(a, [row(value=1.0)])
    save(b, [row(value=1.0, started_at="2026-11-21T09:00:00Z", seconds=7.0)])
    content = gather(a, b)
    assert [r.started_at for r in content.rows] == [row().started_at]  # of the first folder
    assert content.origins == {RUN: ("a", "b")}
    assert not content.conflicts


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": 2.0}, "1 of 1 rows, as frechet distance at 1 step, 2 and 1"),
        ({"standard_error": 0.5}, "1 of 1 rows, as frechet distance at 1 step, standard error 0.5 and nothing"),
        ({"status": "failed", "reason": "boom", "value": None}, "status failed and ok"),
        ({"commit": "fedc"}, "commit fedc and 0123456789abcdef"),
    ],
)
def test_a_row_that_differs_is_a_conflict_and_both_are_shown(
    change: dict[str, Any], words: str, a: Root, b: Root, tmp_path: Path
) -> None:
    save(a, [row(value=1.0)])
    save(b, [row(**{"value": 1.0, **change})])
    content = gather(a, b)
    [conflict] = content.conflicts
    assert words in conflict.reason
    assert conflict.names == (f"{RUN} [a]", f"{RUN} [b]")
    assert {r.run for r in content.rows} == set(conflict.names)
    assert all(len(found) < 2 for found in values(content).values()), "never averaged"
    site = build([a, b], tmp_path / "site")
    pages = pages_of(site.index.parent)
    assert all(name in pages["index.html"].text for name in conflict.names)
    assert sum(place.startswith("runs/") for place in pages) == 2
    assert not leading_nowhere(site.index.parent)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"config": {"run": {"seed": 0}, "train": {"batch": 256}}}, "methods.soflow.p nothing and 1"),
        ({"data_digest": "07e4"}, "the data's digest 07e4 and da7a"),
    ],
)
def test_other_settings_or_data_under_one_name_are_a_conflict(theirs: dict[str, Any], words: str, a: Root, b: Root) -> None:
    save(a, [row(value=1.0)])
    save(b, [row(value=1.0)], {RUN: described(RUN, "soflow") | theirs})
    [conflict] = gather(a, b).conflicts
    assert words in conflict.reason


def test_where_the_data_lies_is_no_difference(a: Root, b: Root) -> None:
    for root, place in ((a, "/one"), (b, "/two")):
        save(root, [row(value=1.0)], {RUN: described(RUN, "soflow", datasets={"image_folder": {"folder": place}})})
    assert not gather(a, b).conflicts


def test_what_two_folders_measured_on_one_training_adds_up(a: Root, b: Root) -> None:
    measured = {"measurements": {"p": {"device": "gpu"}}}
    save(a, [row(value=1.0)], trained("2026-01-01T00:00:00Z"))
    save(b, [row(value=0.5, steps=2)], trained("2026-01-01T00:00:00Z", **measured))
    content = gather(a, b)
    assert not content.conflicts
    assert [cell.mean for cell in content.qualities[0].lines[0].cells] == [1.0, 0.5]
    assert content.descriptions[RUN]["measurements"] == {"p": {"device": "gpu"}}


def test_what_was_measured_on_two_trainings_does_not(a: Root, b: Root) -> None:
    save(a, [row(value=1.0)], trained("2026-01-01T00:00:00Z"))
    save(b, [row(value=0.5, steps=2)], trained("2026-01-02T00:00:00Z"))
    [conflict] = gather(a, b).conflicts
    assert "trained twice, begun 2026-01-02T00:00:00Z and 2026-01-01T00:00:00Z" in conflict.reason


def test_two_files_of_one_folder_are_told_apart_by_their_names(a: Root) -> None:
    save(a, [row(value=1.0)])
    rows.write(a.result_file("copy"), [row(value=2.0)], described(RUN, "soflow"))
    [conflict] = gather(a).conflicts
    assert conflict.names == (f"{RUN} [a/results/copy.parquet]", f"{RUN} [a/results/{RUN}.parquet]")
    a.result_file("copy").write_bytes(a.result_file(RUN).read_bytes())
    assert not gather(a).conflicts


def test_a_run_that_is_called_as_the_told_apart_stays_itself(a: Root, b: Root) -> None:
    save(a, [row(value=1.0), row(value=9.0, run=f"{RUN} [a]", seed=1)])
    save(b, [row(value=2.0)])
    content = gather(a, b)
    assert {r.run: r.value for r in content.rows} == {f"{RUN} [a]": 9.0, f"{RUN} [a]'": 1.0, f"{RUN} [b]'": 2.0}


def test_protocols_of_two_folders_stay_in_tables_of_their_own(a: Root, b: Root) -> None:
    save(a, [row(value=1.0)])
    save(b, [row("meanflow", value=2.0, protocol="other")])
    assert [[line.name for line in table.lines] for table in gather(a, b).qualities] == [["soflow"], ["meanflow"]]


def test_the_same_folder_named_twice_counts_once(a: Root) -> None:
    save(a, [row(value=1.0)])
    content = gather(a, Root(a.path / ".." / "a"))
    assert [folder.name for folder in content.folders] == ["a"]


def test_folders_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    paths = (tmp_path / "x" / "r", tmp_path / "y" / "r", tmp_path / "z")
    assert names_of([Root(path) for path in paths]) == ["x/r", "y/r", "z"]
    assert names_of([Root(Path("/"))]) == ["/"]


def test_an_empty_folder_beside_a_full_one_is_said(a: Root, b: Root) -> None:
    save(a, [row(value=1.0)])
    b.path.mkdir()
    [item] = gather(a, b).left_out
    assert (item.folder, "holds nothing" in item.reason, "bench run" in item.remedy) == ("b", True, True)


def test_the_machine_of_every_row_is_named(a: Root, b: Root, tmp_path: Path) -> None:
    there = {"device": "gpu one", "processor": "chip two", "platform": "Linux-9", "versions": {"torch": "2.99"}}
    save(a, [row(value=1.0, device="gpu one")], trained("x", measurements={row().protocol: there}))
    save(b, [row("meanflow", value=2.0)])
    content = gather(a, b)
    machine = content.machine(content.rows_of[RUN][0])
    assert (machine.text, machine.versions, machine.folders) == ("gpu one; chip two", "torch 2.99", ("a",))
    used = {"device": "chip (1 of 2 threads)", "processor": "chip (2 threads)"}
    assert machine_of(row(device=used["device"]), trained("x") | used, ()).text == "chip (1 of 2 threads)", "said once"
    pages = pages_of(build([a, b], tmp_path / "site").index.parent)
    own = pages[f"runs/{RUN}.html"]
    assert any(cell["text"] == "gpu one; chip two" for cell in own.cells)
    assert "torch 2.99" in own.text
    assert "Linux-9" in own.text


def test_no_file_of_the_site_says_where_the_folders_lie(a: Root, b: Root, tmp_path: Path) -> None:
    save(a, [row(value=1.0)])
    save(b, [row(value=2.0)])
    a.result_file("bad").write_bytes(b"")
    b.run(RUN).path.mkdir(parents=True)
    b.run(RUN).status.write_text("{")
    site = build([a, b], tmp_path / "site")
    assert len(site.left_out) == 2
    assert not [name for name, data in site.files.items() if str(tmp_path).strip("/").encode() in data]


def test_the_run_directory_with_most_to_show_is_taken(a: Root, b: Root) -> None:
    for root in (a, b):
        save(root, [row(value=1.0)])
        root.run(RUN).path.mkdir(parents=True)
        root.run(RUN).write_status("finished", images=2)
    b.run(RUN).samples.mkdir()
    assert gather(a, b).directories[RUN].path.parent.parent.name == "b"


@pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
def test_what_is_told_apart_and_left_out_is_for_everybody(tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    roots = [Root(tmp_path / name) for name in (HOSTILE.replace("/", "|"), "b" * 200)]
    for value, root in enumerate(roots):
        save(root, [row(value=1.0 + value, run=HOSTILE), row("meanflow", value=2.0)])
        root.result_file(HOSTILE.replace("/", "|")).write_bytes(b"")
    site = build(roots, tmp_path / "site").index.parent
    for name in ("index.html", "provenance.html"):
        with browser_page(site / name, width=360) as page:
            found = [
                v["id"]
                for v in Axe().run(page, options={"preload": False}).response["violations"]
                if v["impact"] in ("serious", "critical")
            ]
            assert not found
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            assert page.locator("#left-out li").count() == 2
            assert page.locator("#conflicts a").count() == 2
            assert page.locator("main script:not([type])").count() == 0
