"""The page of sample grids: whole, side by side, cut where the files say how; what is missing or damaged is said."""

import json
import re
import shlex
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main
from PIL import Image

from bench import cli, sample
from bench.step import build_net, load_method
from bench.store import Root
from conftest import tiny_run
from reports.site.links import run_page
from reports.site.pictures import FORMAT, SIGNATURE, NotAPicture, read_png
from result_rows import HOSTILE, row
from sample_grids import LABELS, METHODS, grid, grid_file, samples_site, three_runs, write_run
from site_pages import Page, leading_nowhere, rendered


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def samples_page(root: Root, given: list[Any], tmp_path: Path) -> Page:
    return Page(samples_site(root, given, tmp_path / "site").read_text(encoding="utf-8"))


def data_of(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(page.text.partition('id="sample-data">')[2].partition("</script>")[0])
    return found


def said(page: Page) -> list[str]:
    """What is said below the grids, as a reader sees it."""
    items = re.findall(r"<li>(.*?)</li>", page.text, flags=re.DOTALL)
    return [re.sub(r"<[^>]+>", "", item).replace("&#39;", "'") for item in items]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_layout(text: bytes) -> bytes:
    """A PNG of 98 x 65 pixels, the size of three columns and two rows, with this as its layout."""
    file = BytesIO()
    Image.new("RGB", (98, 65)).save(file, "png")
    data = file.getvalue()
    head = len(SIGNATURE) + 25  # the header chunk
    return data[:head] + chunk(b"tEXt", b"bench-grid\0" + text) + data[head:]


# The files


def test_a_grid_says_how_it_is_cut() -> None:
    png = read_png(grid(0, 2, seed=5))
    assert png.layout is not None
    assert (png.width, png.height, png.remark) == (3 * 33 - 1, 2 * 33 - 1, "")
    assert (png.layout.columns, png.layout.tile, png.layout.gap) == (3, (32, 32), 1)
    assert (png.layout.seed, png.layout.shape, png.layout.labels) == (5, (3, 8, 8), LABELS)
    ragged = read_png(grid(0, 1, columns=4)).layout  # six samples: the second row is not full
    assert ragged is not None
    assert ragged.labels == LABELS


def test_bench_writes_which_noise_and_label_is_where(digits: Any, tmp_path: Path) -> None:
    config = tiny_run()
    net = build_net(config, digits.shape, digits.num_classes).eval()
    method = load_method(config, digits.num_classes)
    model = sample.Model(method, net, config, digits.shape, digits.num_classes, 0, torch.device("cpu"))

    class ShowsLabel:
        def sample(self, net: Any, noise: torch.Tensor, label: torch.Tensor, *_: Any) -> torch.Tensor:
            return (label / 5 - 1).reshape(-1, 1, 1, 1).expand(noise.shape)

    object.__setattr__(model, "method", ShowsLabel())
    sample.save_grid(tmp_path / "grid.png", model, digits, steps=2, seed=3, rows=2)
    layout = read_png((tmp_path / "grid.png").read_bytes()).layout
    assert layout is not None
    assert (layout.seed, layout.shape, layout.labels) == (3, (1, 8, 8), tuple(range(10)) * 2)
    shades = digits.to_uint8((torch.arange(10) / 5 - 1).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8))[:, 0, 0, 0].tolist()
    with Image.open(tmp_path / "grid.png") as image:
        for noise, label in enumerate(layout.labels):
            x, y = (33 * (noise % layout.columns) + 16, 33 * (noise // layout.columns) + 16)
            assert image.getpixel((x, y))[0] == shades[label]  # type: ignore[index]
    assert len(set(shades)) == 10


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"GIF89a", "is no PNG"),
        (SIGNATURE, "is cut short"),
        (SIGNATURE + chunk(b"IEND", b""), "has no size"),
        (SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0)) + chunk(b"IEND", b""), "has no size"),
        (SIGNATURE + b"\xff\xff\xff\xffIHDR" + b"x" * 50, "is cut short"),
    ],
)
def test_what_is_no_picture_is_told_apart(data: bytes, what: str) -> None:
    with pytest.raises(NotAPicture, match=what):
        read_png(data)


def test_a_cut_or_changed_picture_is_damaged_wherever_that_is() -> None:
    whole = grid(0, 1)
    for end in range(0, len(whole), 7):
        with pytest.raises(NotAPicture):
            read_png(whole[:end])
    for place in range(len(SIGNATURE) + 8, len(whole), 5):
        with pytest.raises(NotAPicture):
            read_png(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])


GOOD = {"format": FORMAT, "columns": 3, "tile": [32, 32], "gap": 1, "seed": 0, "shape": [3, 8, 8], "labels": list(LABELS)}


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ({}, ""),
        ({"format": 2}, "of format 2, not 1"),
        ({"labels": ["0"] * 6}, "can not be read"),
        ({"labels": [True] * 6}, "can not be read"),
        ({"labels": [-1] * 6}, "can not be read"),
        ({"labels": "012012"}, "can not be read"),
        ({"labels": []}, "does not fit"),
        ({"labels": [0] * 7}, "does not fit"),
        ({"labels": [0] * 3}, "does not fit"),
        ({"tile": [32]}, "can not be read"),
        ({"tile": [16, 32]}, "does not fit"),
        ({"columns": 0}, "does not fit"),
        ({"columns": 2.0}, "can not be read"),
        ({"gap": 10**400}, "does not fit"),
        ({"seed": None}, "can not be read"),
    ],
)  # fmt: skip
def test_a_layout_is_used_only_where_it_fits(change: dict[str, Any], remark: str) -> None:
    png = read_png(with_layout(json.dumps(GOOD | change).encode()))
    assert (png.layout is not None) == (not remark)
    assert remark in png.remark


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 5000, b'{"format": 1}'])
def test_a_layout_that_is_none(text: bytes) -> None:
    png = read_png(with_layout(text))
    assert png.layout is None
    assert "can not be read" in png.remark


# The page


def test_whole_grids_stand_side_by_side_and_are_the_files(root: Root, tmp_path: Path) -> None:
    page = rendered(root, three_runs(root), tmp_path / "site")["samples.html"]
    assert [link for place, link in leading_nowhere(tmp_path / "site") if place == "samples.html"] == []
    link = r'<a class="grid" href="(\S+)" data-line="(\d)" data-step="(\d)">'
    shown = re.findall(link + r'<img src="(\S+)" width="98" height="65"', page.text)
    assert [(int(line), int(step)) for _, line, step, _ in shown] == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)]
    for link, line, step, source in shown:
        assert link == source
        assert (tmp_path / "site" / source).read_bytes() == grid_file(root, METHODS[int(line)], 2 ** int(step)).read_bytes()
    heads = page.text.partition("<thead>")[2].partition("</thead>")[0]
    assert re.findall(r"</i>(\w+)</a>", heads) == list(METHODS)
    assert 'alt="Samples of meanflow in 2 steps"' in page.text
    assert said(page) == []


def test_a_script_is_told_what_is_where(root: Root, tmp_path: Path) -> None:
    [gallery] = data_of(samples_page(root, three_runs(root), tmp_path))
    assert gallery["cells"] == {"columns": 3, "tile": [32, 32], "gap": 1, "labels": list(LABELS)}
    assert gallery["small"]
    assert gallery["steps"] == ["1 step", "2 steps", "4 steps"]
    assert [line["name"] for line in gallery["lines"]] == list(METHODS)
    flow, mean, _ = (line["pictures"] for line in gallery["lines"])
    assert [picture["cut"] for picture in flow] == [True, True, True]
    assert mean[2] is None
    for line, method in zip(gallery["lines"], METHODS, strict=True):
        assert line["page"] == run_page(row(method).run)
        files = [grid_file(root, method, steps).read_bytes() for steps in (1, 2)]
        assert [(tmp_path / "site" / picture["src"]).read_bytes() for picture in line["pictures"][:2]] == files


def test_grids_without_a_layout_are_shown_whole_with_the_command_that_writes_one(root: Root, tmp_path: Path) -> None:
    old = BytesIO()
    Image.new("RGB", (329, 197)).save(old, "png")
    given = write_run(root, "soflow", {1: grid(0, 1)}) + write_run(root, "meanflow", dict.fromkeys((1, 2), old.getvalue()))
    page = samples_page(root, given, tmp_path)
    meanflow, soflow = data_of(page)[0]["lines"]
    assert [picture["cut"] for picture in meanflow["pictures"]] == [False, False]
    assert soflow["pictures"][0]["cut"]
    run, samples = row("meanflow").run, f"runs/{row('meanflow').run}/samples"
    command = f"for n in 1 2; do bench sample {run} --steps $n --out {samples}/steps-$n.png; done"
    what = "in 1 and 2 steps, the grid has no layout in it: it is shown whole, without class and noise of each sample"
    assert said(page) == [f"meanflow: {what}. Made by {command}"]


@pytest.mark.parametrize(
    ("about", "what"),
    [
        ({"seed": 1}, "was made from other noises than the rest"),
        ({"shape": [3, 16, 16]}, "was made from other noises than the rest"),
        ({"labels": (1, 1, 1, 2, 2, 2)}, "has other labels than the rest"),
        ({"columns": 2}, "laid out otherwise"),
    ],
)
def test_samples_that_are_no_counterparts_are_not_cut(about: dict[str, Any], what: str, root: Root, tmp_path: Path) -> None:
    given = write_run(root, "flow_matching", {1: grid(0, 1, **about)})
    given += [found for method in ("meanflow", "soflow") for found in write_run(root, method, {1: grid(1, 1)})]
    page = samples_page(root, given, tmp_path)
    assert [line["pictures"][0]["cut"] for line in data_of(page)[0]["lines"]] == [False, True, True]
    [words] = said(page)
    assert words.startswith("flow_matching: in 1 step, the grid ")
    assert what in words


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (None, "samples of the run {run} are not here, in 2 steps"),
        (b"", "in 2 steps, the grid is empty"),
        (b"GIF89a and so on", "in 2 steps, the grid is no PNG"),
        (grid(0, 2)[:-20], "in 2 steps, the grid is cut short"),
        (grid(0, 2).replace(b"IDAT", b"IDAx"), "in 2 steps, the grid is damaged: a checksum in it does not fit"),
    ],
)
def test_what_can_not_be_shown_is_said_with_its_remedy(data: bytes | None, what: str, root: Root, tmp_path: Path) -> None:
    given = write_run(root, "soflow", {1: grid(0, 1), 2: data or b""})
    if data is None:
        grid_file(root, "soflow", 2).unlink()
    page = samples_page(root, given, tmp_path)
    run = row("soflow").run
    command = f"bench sample {run} --steps 2 --out runs/{run}/samples/steps-2.png"
    assert said(page) == [f"soflow: {what.format(run=run)}. Made by {command}"]
    assert [file.name for file in (tmp_path / "site" / "samples").iterdir()] == [f"{run}-steps-1.png"]


def test_the_command_that_makes_a_grid_is_one_that_bench_takes(root: Root, tmp_path: Path) -> None:
    page = samples_page(root, [*write_run(root, "soflow", {1: b"", 2: grid(0, 2)})], tmp_path)
    _, _, line = said(page)[0].partition("Made by ")
    program, verb, *words = shlex.split(line)
    command = typer.main.get_command(cli.app).commands[verb]  # type: ignore[attr-defined]
    given = command.make_context(verb, words).params
    assert (program, given["run"], given["steps"]) == ("bench", row("soflow").run, 1)
    assert root.path / given["out"] == grid_file(root, "soflow", 1)
    assert (given["seed"], given["rows"]) == (0, 6)  # as `bench run` writes them


def test_without_a_snapshot_the_whole_run_is_the_remedy(root: Root, tmp_path: Path) -> None:
    page = samples_page(root, write_run(root, "soflow", {1: b"", 2: grid(0, 2)}, snapshot=False), tmp_path)
    assert said(page) == ["soflow: in 1 step, the grid is empty. Made by bench run soflow"]


def test_a_run_that_is_elsewhere_is_said_once(root: Root, tmp_path: Path) -> None:
    page = samples_page(root, [row(steps=steps) for steps in (1, 2)], tmp_path)
    assert said(page) == [f"soflow: the run directory {row().run} is not here. Made by bench run soflow"]
    assert data_of(page)[0]["lines"] == []


def test_another_run_s_samples_do_not_stand_for_a_run_s_own(root: Root, tmp_path: Path) -> None:
    """A link out of runs/ leaves the run's folder out altogether: tests/test_report_roots.py."""
    given = write_run(root, "meanflow", {1: grid(0, 1)}) + write_run(root, "soflow", {1: b"", 2: grid(0, 2)})
    grid_file(root, "soflow", 1).unlink()
    grid_file(root, "soflow", 1).symlink_to(grid_file(root, "meanflow", 1))
    page = samples_page(root, given, tmp_path)
    assert len(list((tmp_path / "site" / "samples").iterdir())) == 2
    assert "in 1 step, the grid is a link that leads out of the run's folder" in said(page)[0]


def test_data_sets_have_galleries_of_their_own(root: Root, tmp_path: Path) -> None:
    given = write_run(root, "soflow", {1: grid(0, 1)})
    given += [row("meanflow", dataset="other", steps=1)]
    page = samples_page(root, given, tmp_path)
    assert len(data_of(page)) == 2
    assert {("data-dataset", "digits"), ("data-dataset", "other"), ("data-net", "T/2")} <= set(page.attributes)


@pytest.mark.parametrize("name", [HOSTILE, "../../up", "x" * 300, "</script><b>"])
def test_hostile_names_stay_text(name: str, root: Root, tmp_path: Path) -> None:
    given = write_run(root, "soflow", {1: grid(0, 1)})
    given = [row(name, run=given[0].run, dataset=name, steps=1)]
    page = samples_page(root, given, tmp_path)
    assert data_of(page)[0]["lines"][0]["name"] == name
    assert page.tags.count("script") == 3  # two files and the data
    assert "<b>" not in page.text
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,120}", file.name) for file in (tmp_path / "site" / "samples").iterdir())


def test_no_gallery(root: Root, tmp_path: Path) -> None:
    page = samples_page(root, [row(metric="latency_ms")], tmp_path)
    assert data_of(page) == []
    assert "bench run" in page.text
