"""The tables of the site as files: each in three forms, under a safe name, the same as on the page and in its script."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from bench.store import Root
from reports import forms
from reports.budget import budgets
from reports.curves import panels
from reports.grids import Grid, magnitude
from reports.render import render
from reports.site import exports
from reports.site.content import gather
from reports.site.folder import SiteFolder
from result_rows import HOSTILE, frame, realistic, row, save


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,234*", 1234.0), ("≈ 12.3 ± 0.4", 12.3), ("−0.5", -0.5), ("–", None), ("", None), ("nan", None), ("soflow", None)],
)
def test_magnitude(text: str, value: float | None) -> None:
    assert magnitude(text) == value


def test_a_grid_in_three_forms() -> None:
    grid = Grid("A & B", ("method", "ms", "x"), (("[x]", "1,234*", "–"), ("a_b | c", "–", "–")), ("Two %.",))
    assert grid.numeric == (False, True, True)
    assert list(csv.reader(io.StringIO(grid.render("csv")))) == [
        ["method", "ms", "x"],
        ["[x]", "1,234*", "–"],
        ["a_b | c", "–", "–"],
    ]
    assert grid.render("markdown").splitlines()[2:5] == [
        "| method | ms | x |", "| --- | ---: | ---: |", r"| \[x\] | 1,234\* | – |",
    ]  # fmt: skip
    latex = grid.render("latex").splitlines()
    assert latex[:3] == [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering"]
    assert latex[3:5] == [
        r"\caption[{A \& B}]{A \& B.}",
        r"{\footnotesize\raggedright Two \%. Left out, without a value: x.\par}",
    ]
    assert latex[7:10] == [r"\begin{tabular}{@{}lr@{}}", r"\toprule", r"method & ms \\"]
    assert [r"\midrule" in latex, r"\bottomrule" in latex] == [True] * 2
    assert latex[11] == r"{[}x] & 1,234{*} \\"  # a row that begins with [ is no option of the one before
    assert latex[12] == r"a\_b \textbar{} c & -- \\"


def test_names_of_files_are_safe_and_tell_everything_apart() -> None:
    words = ["a b", "a-b", "../a b", HOSTILE, "x" * 300, "x" * 301, "", "名"]
    found = [exports.name_of("quality", word) for word in words]
    assert len(set(found)) == len(words)
    assert all(re.fullmatch(r"[A-Za-z0-9-]{1,80}", name) for name in found)
    assert exports.name_of("a", "b", "c", "d") != exports.name_of("a", "b", "c d")


def test_every_table_of_the_site_is_a_file_in_each_form(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    save(root, realistic())
    site = render(root, tmp_path / "site").parent
    content = gather(root)
    for table in (*content.qualities, *content.costs):
        name = exports.table_name(table)
        for end, form in exports.FORMS.items():
            assert (site / f"data/{name}.{end}").read_text(encoding="utf-8") == forms.render(table, form)
    taken = 0
    for page in site.rglob("*.html"):
        for name, place in re.findall(r'data-take="([^"]+)" data-from="([^"]+)"', page.read_text(encoding="utf-8")):
            found = re.fullmatch(r"benchTake\((\".*?\"), (\{.*\})\);\n", (page.parent / place).read_text(encoding="utf-8"))
            assert found is not None
            assert json.loads(found[1]) == name
            files = {end: (site / f"data/{name}.{end}").read_text(encoding="utf-8") for end in ("csv", "md", "tex")}
            assert json.loads(found[2]) == files
            taken += 1
    assert taken == len(list((site / "data").glob("*.tex"))) > 3


def test_a_budget_as_a_file_says_what_the_page_says(tmp_path: Path) -> None:
    given = [row(value=v, images=i, sample_seed=0) for i, v in ((100, 3.0), (200, 2.0))]
    given += [row(metric="train_seconds", value=3600.0 * i / 100, images=i, unit="s") for i in (100, 200)]
    [panel] = panels(frame(*given))
    folder = SiteFolder(tmp_path / "out")
    exports.add_budget(folder, panel, budgets(panel))
    [text] = [data for name, data in folder.files.items() if name.endswith(".csv")]
    assert isinstance(text, bytes)
    lines = list(csv.reader(io.StringIO(text.decode())))
    assert [line[:2] + line[4:5] for line in lines[1:]] == [["1 GPU-hours", "soflow", "100"], ["2 GPU-hours", "soflow", "200"]]
