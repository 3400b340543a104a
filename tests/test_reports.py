"""The page: every number on it is its row's, names are escaped, it stands alone and is the same every time."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from bench import rows
from bench.errors import BenchError
from bench.store import Root
from reports import tables
from reports.figures import quality_charts
from reports.looks import looks_of
from reports.render import environment, render
from result_rows import HOSTILE, failed, frame, realistic, row, save


class Page(HTMLParser):
    """Tables as text with the machine-readable value and link of each cell, plus all ids, links and tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [given["id"]] if given.get("id") else []
        if tag == "td":
            self.cells.append({"text": "", "value": None, "link": None, "class": given.get("class")})
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
            if self.cells and self.cells[-1]["link"] is None:
                self.cells[-1]["link"] = given["href"]
        if tag == "data":
            self.cells[-1]["value"] = float(str(given["value"]))

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1]["text"] += data


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def page_of(root: Root, given: list[rows.Row], tmp_path: Path) -> str:
    save(root, given)
    return render(root, tmp_path / "site").read_text(encoding="utf-8")


# The page


def test_every_number_on_the_page_is_its_row(root: Root, tmp_path: Path) -> None:
    given = realistic()
    page = Page(page_of(root, given, tmp_path))
    shown = [item for item in page.cells if item["value"] is not None]
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
    assert {item["link"][1:] for item in shown} <= set(page.ids)


def test_every_link_has_a_target_and_ids_are_unique(root: Root, tmp_path: Path) -> None:
    page = Page(page_of(root, realistic(), tmp_path))
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert all(link.startswith("#") for link in page.links)
    assert len(page.ids) == len(set(page.ids))


def test_failure_and_floor_are_on_the_page(root: Root, tmp_path: Path) -> None:
    text = page_of(root, realistic(), tmp_path)
    section = text.partition('id="failures"')[2].partition("</section>")[0]
    assert "the loss is not finite" in section
    assert "digits-meanflow-T-2-s1-abc" in section
    assert "Real against real: 0.4123." in text


def test_hostile_names_are_escaped_everywhere(root: Root, tmp_path: Path) -> None:
    given = [
        row(HOSTILE, seed, value=v, run=f"{HOSTILE}{seed}", dataset=HOSTILE, protocol=HOSTILE)
        for seed, v in enumerate((1.0, 2.0))
    ]
    given += [failed(HOSTILE, 2, run=f"{HOSTILE}2", dataset=HOSTILE, reason=HOSTILE)]
    given += [row(HOSTILE, 0, m, 5.0, run=f"{HOSTILE}0", dataset=HOSTILE) for m in ("train_images_per_second", "train_seconds")]
    text = page_of(root, given, tmp_path)
    page = Page(text)
    assert "script" not in page.tags
    assert "<script" not in text
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in page.ids)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert "&lt;script&gt;alert(" in text.partition("<svg")[2].partition("</svg>")[0]  # also inside a chart


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
    assert "data:image/png" not in page_of(root, [row(run="../elsewhere")], tmp_path)


def test_page_stands_alone(root: Root, tmp_path: Path) -> None:
    text = page_of(root, realistic(), tmp_path)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in text
    attributes = [(name, value or "") for name, value in Page(text).attributes]
    assert not [pair for pair in attributes if "//" in pair[1] and not pair[0].startswith("xmlns")]
    assert not set(Page(text).tags) & {"script", "link", "iframe", "object"}
    assert "url(http" not in text
    assert "metadata" not in text  # of matplotlib: the date of drawing
    assert text.count("<style") == 1  # the page's own


def test_same_input_same_bytes(root: Root, tmp_path: Path) -> None:
    save(root, realistic())
    write_log(root, "digits-soflow-T-2-s0-abc")
    first, second = (render(root, tmp_path / place).read_bytes() for place in ("one", "two"))
    assert first == second


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
    text = page_of(root, realistic(), tmp_path)
    pictures = [
        dict(zip(("src", "width", "height"), m, strict=True))
        for m in re.findall(r'<img src="(\S+)" width="(\d+)" height="(\d+)"', text)
    ]
    assert [(p["width"], p["height"]) for p in pictures] == [("64", "32")]
    assert 'alt="Samples of soflow in 1 step"' in text
    section = text.partition('id="samples"')[2].partition("</section>")[0]
    assert "the run directory digits-meanflow-T-2-s0-abc is not here" in section
    assert "<code>bench run meanflow</code>" in section
    assert "A perfect network&#39;s training mse is not zero" in text
    assert text.count('aria-labelledby="mse-') == 1


def test_protocols_share_logs_and_samples_of_all_their_methods(root: Root, tmp_path: Path) -> None:
    for method in ("soflow", "meanflow"):
        write_log(root, f"digits-{method}-T-2-s0-abc")
    text = page_of(root, [row(), row("meanflow", protocol="other")], tmp_path)
    [chart] = re.findall(r'<svg[^>]*aria-labelledby="mse-.*?</svg>', text, flags=re.DOTALL)
    assert ">soflow</text>" in chart
    assert ">meanflow</text>" in chart
    for method in ("soflow", "meanflow"):
        assert text.count(f"samples of the run digits-{method}-T-2-s0-abc are not here") == 1


def test_a_run_without_rows_is_listed(root: Root, tmp_path: Path) -> None:
    run = root.run("digits-soflow-T-2-s7-abc")
    run.path.mkdir(parents=True)
    run.write_status("stopped", images=2, reason="SIGTERM")
    text = page_of(root, [row()], tmp_path)
    assert "stopped, no result rows" in text
    assert "SIGTERM" in text


def test_provenance(root: Root, tmp_path: Path) -> None:
    text = page_of(root, [row()], tmp_path)
    for fact in (
        "0123456789abcdef, with changes that are not in it",
        "da7a",
        "d1g3st",
        "bench 0.1.0",
        "batch = 128",
        "bench run soflow",
    ):
        assert fact in text.partition('id="provenance"')[2], fact


def test_no_results(root: Root, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        render(root, tmp_path / "site")
    assert "No results" in caught.value.given
    assert "bench run" in caught.value.remedy
    assert not (tmp_path / "site").exists()


def test_a_missing_value_fails_the_template() -> None:
    with pytest.raises(UndefinedError):
        environment().get_template("index.html.j2").render(qualities=[])
    with pytest.raises(UndefinedError):
        environment().from_string("{{ absent }}").render()


def test_reports_leave_torch_out() -> None:
    program = "import sys, reports.render, reports.forms; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
