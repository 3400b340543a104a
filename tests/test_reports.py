"""The site: every number on it is its row's, names are escaped, it asks nobody else and is the same every time."""

import json
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from bench import rows
from bench.errors import BenchError
from bench.store import Root
from reports import tables
from reports.charts.figures import quality_charts
from reports.charts.looks import looks_of
from reports.render import render
from reports.site import templating
from reports.site.links import run_page
from result_rows import HOSTILE, failed, frame, realistic, row, save
from site_pages import leading_nowhere, rendered


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


# The site


def test_every_number_in_the_tables_is_its_row(root: Root, tmp_path: Path) -> None:
    given = realistic()
    site = rendered(root, given, tmp_path / "site")
    shown = [*site["index.html"].cells_of("quality"), *site["cost.html"].cells_of("cost")]
    means: dict[tuple[Any, ...], list[float]] = {}
    for r in (r for r in given if r.value is not None and r.metric != tables.FLOOR):
        means.setdefault((r.method, r.metric, r.steps), []).append(r.value)
    expected = sorted(sum(v) / len(v) for v in means.values())
    assert sorted(item["value"] for item in shown) == pytest.approx(expected, rel=1e-12)
    for item in shown:  # the text is the value, rounded, in some unit
        found = re.search(r"-?\d[\d,.]*", item["text"])
        assert found is not None, item
        text = float(found[0].replace(",", ""))
        assert any(text == pytest.approx(item["value"] / scale, rel=6e-3) for scale in (1, 1e-3, 1e6, 2**20)), item
        assert str(item["link"]).startswith("runs/")


def test_a_run_s_page_has_every_row_in_full(root: Root, tmp_path: Path) -> None:
    given = realistic()
    site = rendered(root, given, tmp_path / "site")
    for run in {r.run for r in given}:
        page = site[run_page(run)]
        own = [r for r in given if r.run == run]
        assert {f"row-{rows.row_id(r)}" for r in own} <= set(page.ids)
        assert sorted(c["value"] for c in page.cells_of("rows")) == sorted(r.value for r in own if r.value is not None)


def test_every_link_has_a_target_and_ids_are_unique(root: Root, tmp_path: Path) -> None:
    site = rendered(root, realistic(), tmp_path / "site")
    assert leading_nowhere(tmp_path / "site") == []
    for page in site.values():
        assert len(page.ids) == len(set(page.ids))


def test_every_page_is_reached_from_the_first(root: Root, tmp_path: Path) -> None:
    site = rendered(root, realistic(), tmp_path / "site")
    seen, waiting = set(), ["index.html"]
    while waiting:
        place = waiting.pop()
        if place in site and place not in seen:
            seen.add(place)
            links = (link.partition("#")[0] for link in site[place].links)
            waiting += [posixpath.normpath(posixpath.join(posixpath.dirname(place), link)) for link in links if link]
    assert seen == set(site)


def test_failure_and_floor_are_on_the_page(root: Root, tmp_path: Path) -> None:
    site = rendered(root, realistic(), tmp_path / "site")
    section = site["provenance.html"].text.partition('id="failures"')[2].partition("</section>")[0]
    assert "the loss is not finite" in section
    assert "digits-meanflow-T-2-s1-abc" in section
    assert "Real against real: 0.4123." in site["index.html"].text


@pytest.mark.parametrize("name", [HOSTILE, "../../up", "名" * 300, "x" * 300, "a/b\\c", "", ".", "CON"])
def test_hostile_names_are_escaped_everywhere(name: str, root: Root, tmp_path: Path) -> None:
    given = [
        row(name, seed, value=v, run=f"{name}{seed}", dataset=name, protocol=name, device=name)
        for seed, v in enumerate((1.0, 2.0))
    ]
    given += [failed(name, 2, run=f"{name}2", dataset=name, reason=HOSTILE)]
    given += [row(name, 0, m, 5.0, run=f"{name}0", dataset=name) for m in ("train_images_per_second", "train_seconds")]
    folder = tmp_path / "some" / "where" / "site"
    site = rendered(root, given, folder)
    assert leading_nowhere(folder) == []
    for page in site.values():
        assert "<script>" not in page.text
        assert "alert(" not in page.text or "&lt;script&gt;alert(" in page.text or "\\u003cscript\\u003ealert(" in page.text
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", found) for found in page.ids)
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,120}", part) for place in site for part in place.split("/"))
    assert [path.name for path in (tmp_path / "some").rglob("*") if folder not in path.parents] == ["where", "site"]


@pytest.mark.parametrize("name", ["_private", "$a_b$", "名", "a&b", "soflow"])
def test_charts_name_a_method_as_it_is(name: str) -> None:
    [table] = tables.quality(frame(row(name, value=1.0)))
    [chart] = quality_charts(table, looks_of([(name, name)]))
    assert f">{name.replace('&', '&amp;')}</text>" in chart.svg


def test_charts_show_values_in_the_unit_of_their_axis() -> None:
    [table] = tables.quality(frame(*(row(metric="kernel_distance", value=v, steps=k) for k, v in ((1, 0.02), (2, 0.0)))))
    [chart] = quality_charts(table, looks_of([("soflow", "soflow")]))
    assert "kernel distance (×10⁻³) ↓</text>" in chart.svg
    assert ">20</text>" in chart.svg


def test_a_method_has_one_colour_whoever_else_is_there() -> None:
    alone, together = looks_of([("meanflow", "meanflow")]), looks_of([(m, m) for m in ("alpha", "meanflow", "soflow")])
    assert alone["meanflow"] == together["meanflow"]
    assert len({look.colour for look in together.values()}) == 3


def test_a_run_name_cannot_reach_out_of_the_runs_folder(root: Root, tmp_path: Path) -> None:
    secret = root.path / "elsewhere" / "samples"
    secret.mkdir(parents=True)
    root.runs.mkdir()  # so that runs/../elsewhere would resolve
    (secret / "steps-1.png").write_bytes(tiny_png())
    rendered(root, [row(run="../elsewhere")], tmp_path / "site")
    assert not list((tmp_path / "site").rglob("*.png"))


def test_the_site_asks_nobody_else(root: Root, tmp_path: Path) -> None:
    """A browser is told so, and nothing on the pages would ask: tests/test_site_browser.py looks."""
    policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
    for place, page in rendered(root, realistic(), tmp_path / "site").items():
        assert policy in page.text
        attributes = [(name, value or "") for name, value in page.attributes]
        outside = [pair for pair in attributes if "//" in pair[1] and not pair[0].startswith("xmlns")]
        assert all(name == "href" and value.startswith("https://arxiv.org/") for name, value in outside), place
        assert not set(page.tags) & {"iframe", "object", "embed", "form action"}
        assert not [name for name, _ in attributes if name.startswith("on")], "no handlers in attributes"
        assert "url(http" not in page.text
        assert "<metadata" not in page.text  # of matplotlib: the date of drawing


def test_same_input_same_bytes(root: Root, tmp_path: Path) -> None:
    save(root, realistic())
    write_log(root, "digits-soflow-T-2-s0-abc")
    one, two = (render(root, tmp_path / place).parent for place in ("one", "two"))
    names = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.is_file()]
    assert names == [path.relative_to(two) for path in sorted(two.rglob("*")) if path.is_file()]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def tiny_png() -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("L", (64, 32)).save(buffer, "png")
    return buffer.getvalue()


def write_log(root: Root, name: str) -> None:
    run = root.run(name)
    run.path.mkdir(parents=True)
    run.write_status("finished", images=2)
    records = [{"images": i, "epoch": i / 2, "mse": 1 / i, "grad_norm": 2 / i} for i in (1, 2, 3)]
    run.train_log.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"images": 4, "ep')


def test_samples_and_logs_of_runs_that_are_here(root: Root, tmp_path: Path) -> None:
    write_log(root, "digits-soflow-T-2-s0-abc")
    run = root.run("digits-soflow-T-2-s0-abc")
    run.samples.mkdir()
    (run.samples / "steps-1.png").write_bytes(tiny_png())
    (run.samples / "steps-2.png").write_bytes(b"not a picture, though long enough for one")
    site = rendered(root, realistic(), tmp_path / "site")
    text = site["samples.html"].text
    assert "Samples of soflow in 1 step" in text
    assert "the run directory digits-meanflow-T-2-s0-abc is not here" in text
    assert "<code>bench run meanflow</code>" in text
    assert [file.read_bytes() for file in (tmp_path / "site" / "samples").iterdir()] == [tiny_png()]
    assert "A perfect network&#39;s training mse is not zero" in site["training.html"].text
    assert site["training.html"].text.count('aria-labelledby="mse-') == 1


def test_protocols_share_logs_and_samples_of_all_their_methods(root: Root, tmp_path: Path) -> None:
    for method in ("soflow", "meanflow"):
        write_log(root, f"digits-{method}-T-2-s0-abc")
    site = rendered(root, [row(), row("meanflow", protocol="other")], tmp_path / "site")
    [chart] = re.findall(r'<svg[^>]*aria-labelledby="mse-.*?</svg>', site["training.html"].text, flags=re.DOTALL)
    assert ">soflow</text>" in chart
    assert ">meanflow</text>" in chart
    for method in ("soflow", "meanflow"):
        assert site["samples.html"].text.count(f"samples of the run digits-{method}-T-2-s0-abc are not here") == 1


def test_a_run_without_rows_is_listed(root: Root, tmp_path: Path) -> None:
    run = root.run("digits-soflow-T-2-s7-abc")
    run.path.mkdir(parents=True)
    run.write_status("stopped", images=2, reason="SIGTERM")
    site = rendered(root, [row()], tmp_path / "site")
    assert "stopped, no result rows" in site["provenance.html"].text
    assert "SIGTERM" in site["provenance.html"].text
    assert "bench eval" in site[run_page(run.name)].text


def test_provenance(root: Root, tmp_path: Path) -> None:
    text = rendered(root, [row()], tmp_path / "site")[run_page(row().run)].text
    for fact in (
        "0123456789abcdef, with changes that are not in it",
        "da7a",
        "d1g3st",
        "bench 0.1.0",
        "batch = 128",
        "bench run soflow",
    ):
        assert fact in text, fact


def test_two_runs_are_given_their_values_settings_and_rows(root: Root, tmp_path: Path) -> None:
    given = [row(sample_seed=seed, value=v) for seed, v in enumerate((1.0, 3.0))] + [row("meanflow", value=5.0)]
    text = rendered(root, given, tmp_path / "site")["compare.html"].text
    data = json.loads(text.partition('id="runs">')[2].partition("</script>")[0])
    by_run = {record["run"]: record for record in data}
    [found] = by_run[given[0].run]["values"]
    assert (found["value"], found["seeds"], found["sd"]) == (2.0, 2, pytest.approx(2**0.5))
    assert found["rows"] == [rows.row_id(r) for r in given[:2]]
    assert by_run[given[0].run]["settings"]["train.batch"] == "128"


def test_no_results(root: Root, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        render(root, tmp_path / "site")
    assert "No results" in caught.value.given
    assert "bench run" in caught.value.remedy
    assert not (tmp_path / "site").exists()


def test_a_missing_value_fails_the_template() -> None:
    with pytest.raises(UndefinedError):
        templating.page("index.html", "index.html.j2", {"qualities": []})
    with pytest.raises(UndefinedError):
        templating.environment().from_string("{{ absent }}").render()


def test_reports_leave_torch_out() -> None:
    program = "import sys, reports.render, reports.forms; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
