"""The tables of the site: what they link to, what is beneath them, what of them is a file, and how large they get."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.rows import Row, row_id
from bench.store import Root
from published_page import CLAIMS
from reports import claimed, tables
from reports.site import exports, pages, table_views
from reports.site.beside import SHOWN, beside, nearest
from reports.site.content import Content, gather
from reports.site.folder import SiteFolder
from reports.site.table_views import SHORT, lacks, leaderboard, views
from result_rows import HOSTILE, described, failed, frame, made_up, realistic, row, save
from test_claimed import CONDITIONS, in_recipe, ours

# Published beneath measured


def claims_of(*given: Row, conditions: dict[str, Any] | None = None) -> tuple[Any, list[claimed.Pairing]]:
    known = {
        r.run: described(r.run, r.method, **in_recipe(CLAIMS["soflow-b4-1"])) | {"protocols": {"p": conditions or CONDITIONS}}
        for r in given
    }
    [table] = tables.quality(frame(*given), known)
    return table, claimed.pairings(tuple(CLAIMS.values()), [table], known)


def test_a_claim_stands_under_its_own_line_and_column() -> None:
    table, found = claims_of(ours(12.0), ours(13.0, steps=2), ours(20.0, method="meanflow", run="m"), ours(21.0, steps=8))
    [recipe] = [item for item in beside(table, found)["soflow"] if any(p and p.claim.id == "soflow-b4-1" for p in item.cells)]
    steps = [column.steps for column in table.columns]
    assert [p.claim.steps if p else None for p in recipe.cells] == [s if s in (1, 2) else None for s in steps]
    assert all(p is None or (p.line, p.claim.method) == ("soflow", "soflow") for p in recipe.cells)
    for line in beside(table, found):
        for item in beside(table, found)[line]:
            assert all(p is None or p.line == line for p in item.cells)


def test_every_claim_that_was_met_is_shown_and_once() -> None:
    table, found = claims_of(ours(12.0), ours(70.0, method="meanflow", run="m"))
    shown = [p.claim.id for items in beside(table, found).values() for item in items for p in item.cells if p]
    assert sorted(shown) == sorted(p.claim.id for p in found if p.ours is not None)
    assert len(shown) == len(set(shown)) > 3


def test_beneath_a_line_the_recipes_most_like_ours_come_first() -> None:
    table, found = claims_of(ours(12.0))
    met = beside(table, found)["soflow"]
    assert met[0].title.startswith("soflow B/4, no guidance")  # first in the file, and of another recipe
    shown = nearest(met)
    assert [p.claim.id for p in shown[0].cells if p] == ["soflow-b4-1"]
    assert len(shown) == SHOWN
    assert [item.distance for item in shown] == sorted(item.distance for item in met)[:SHOWN]


def test_how_unlike_a_recipe_is_counts_what_differs_and_what_is_not_said() -> None:
    table, found = claims_of(ours(12.0))
    [one] = [p for p in found if p.claim.id == "soflow-b4-1"]
    phrases = ("batch 128 here, 256 there", "not known of the claim: mix, p", "not recorded of ours: VAE")
    for reason, expected in (("", (False, 3)), ("no difference", (True, 3))):
        pairing = replace(one, differs=phrases, reason=reason)
        assert beside(table, [pairing])["soflow"][0].distance == expected


def test_what_one_source_says_twice_is_two_lines() -> None:
    table, found = claims_of(ours(12.0))
    [one] = [p for p in found if p.claim.id == "soflow-b4-1"]
    twice = [one, replace(one, claim=replace(one.claim, printed="11.6"))]
    assert [p.claim.printed for item in beside(table, twice)["soflow"] for p in item.cells if p] == ["11.5897", "11.6"]


def made(root: Root, given: list[Row], descriptions: dict[str, dict[str, Any]] | None = None) -> dict[str, str]:
    """The pages with tables and the runs' pages, and the files in data/, by place. Nothing is drawn."""
    save(root, given, descriptions)
    return pages_of(gather(root), pages.index, pages.cost, pages.provenance)


def pages_of(content: Content, *adding: Callable[[Content, SiteFolder], None]) -> dict[str, str]:
    folder = SiteFolder(Path("nowhere"))
    for add in adding:
        add(content, folder)
    return {place: data.decode() for place, data in folder.files.items() if isinstance(data, bytes)}


@pytest.mark.parametrize(
    ("extractor", "words"), [("inception", "ours +0.4103 (+3.5 %)"), ("efficientnet_lite0", "not comparable")]
)
def test_the_leaderboard_has_both_and_subtracts_only_what_compares(extractor: str, words: str, tmp_path: Path) -> None:
    one = ours(12.0)
    known = described(one.run, "soflow", **in_recipe(CLAIMS["soflow-b4-1"]))
    known["protocols"] = {"p": CONDITIONS | {"extractor": extractor}}
    text = made(Root(tmp_path), [one], {one.run: known})["index.html"]
    lines = re.findall(r'<tr class="claimed">.*?</tr>', text, flags=re.DOTALL)
    [line] = [line for line in lines if ">11.5897<" in line]
    assert words in line
    assert line.count("<small>ours ") == ("ours" in words)
    anchor = re.search(r'href="index.html#(claim-[^"]+)"', line)
    assert anchor is not None
    assert text.count(f'id="{anchor[1]}"') == 1
    assert "<data" not in line  # a published figure is no result of ours


# The page's tables


class Grids(HTMLParser):
    """Of one page: by table name, its heads and the cells of its lines."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.heads: dict[str, list[dict[str, str]]] = {}
        self.lines: dict[str, list[list[dict[str, str]]]] = {}
        self.figures: list[dict[str, str]] = []
        self.fold = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.fold += tag == "details"
        if tag == "figure":
            self.figures.append(given)
        if self.fold or not self.figures or "data-table" not in self.figures[-1]:
            return
        name = self.figures[-1]["data-table"]
        if tag == "tr":
            self.lines.setdefault(name, []).append([])
        if tag in ("td", "th"):
            self.lines[name][-1].append(given | {"tag": tag})
        if tag == "th" and given.get("data-sort"):
            self.heads.setdefault(name, []).append(given)
        if tag in ("a", "data") and self.lines.get(name) and self.lines[name][-1]:
            self.lines[name][-1][-1] |= {f"{tag}-{key}": value for key, value in given.items()}

    def handle_endtag(self, tag: str) -> None:
        self.fold -= tag == "details"


def test_each_head_sorts_by_the_cells_below_it(tmp_path: Path) -> None:
    """What data-column says is where the column's values are, in tables with one and with two rows of heads."""
    root = Root(tmp_path / "root")
    site = made(root, realistic())
    content = gather(root)
    for place, found in (("index.html", content.qualities), ("cost.html", content.costs)):
        page = Grids(site[place])
        for table in found:
            name = exports.table_name(table)
            heads = {head["data-key"]: head for head in page.heads[name]}
            body = [line for line in page.lines[name] if line and line[0].get("scope") == "row"]
            assert len(body) == len(table.lines)
            for i, column in enumerate(table.columns):
                head = heads[column.metric if column.steps is None else f"{column.metric}-{column.steps}"]
                assert head["data-better"] == column.better
                shown = [line[int(head["data-column"])].get("data-value") for line in body]
                means = [line.cells[i].mean for line in table.lines]
                assert shown == [None if mean is None else str(mean) for mean in means]
            assert len(heads) == len(table.columns) + 2
            assert all(len(line) == len(table.columns) + 2 for line in body)


def test_a_number_leads_to_its_row(tmp_path: Path) -> None:
    given = realistic()
    site = made(Root(tmp_path), given)
    by_id = {row_id(r): r for r in given}
    links = 0
    for place in ("index.html", "cost.html"):
        page = Grids(site[place])
        for name in page.heads:
            for cell in (cell for line in page.lines[name] for cell in line if "data-value" in cell and "a-href" in cell):
                file, _, fragment = cell["a-href"].partition("#")
                assert f'id="{fragment}"' in site[file]
                behind = by_id[fragment.removeprefix("row-")]
                assert behind.run in cell["a-title"]
                if behind.value == pytest.approx(float(cell["data-value"])):
                    links += 1
    assert links > 10  # a line of one seed, where the number is the row


def test_figures_say_what_they_are_of(tmp_path: Path) -> None:
    given = [row(dataset=HOSTILE, protocol='"><b>', net="T/2")]
    page = Grids(made(Root(tmp_path), given)["index.html"])
    [figure] = [figure for figure in page.figures if figure.get("data-dataset") is not None]
    assert (figure["data-dataset"], figure["data-net"], figure["data-protocol"]) == (HOSTILE, "T/2", '"><b>')


# What is missing


def test_what_is_missing_says_which_command_makes_it() -> None:
    given = [
        row("soflow"),
        row("meanflow", value=2.0),
        row("meanflow", value=2.0, steps=4),
        row("meanflow", metric="recall", value=0.1),
    ]
    given += [failed("flow_matching", 3)]
    known = {r.run: described(r.run, r.method) for r in given}
    known[given[0].run]["measurements"] = {given[0].protocol: {"command": "bench run soflow --set eval.samples=2000"}}
    [table] = tables.quality(frame(*given), known)
    found = lacks(table, known)
    assert found[0] == (
        "soflow: Fréchet distance, 4 steps; recall, 1 step",
        "bench run soflow --set eval.samples=2000 --set 'eval.steps=[1, 4]'",
    )
    assert found[1] == ("flow_matching, seed 3", "bench run flow_matching")
    assert len(found) == 2


def test_a_missing_metric_without_steps_is_measured_again() -> None:
    given = [row("soflow", metric="parameters", value=5.0), row("meanflow", metric="parameters", value=5.0)]
    given += [row("meanflow", metric="train_seconds", value=9.0)]
    known = {r.run: described(r.run, r.method) for r in given}
    [table] = tables.cost(frame(*given), known)
    assert lacks(table, known) == [("soflow: training time", "bench run soflow --again")]


# Large


def crowd(runs: int, each: int) -> list[Row]:
    """So many runs, all of one data set, each a line of its own with so many rows."""
    metrics = list(tables.QUALITY)[:5]
    draw = random.Random(0)
    return [
        row(f"method_{i:03}", 0, metric, draw.random(), steps=1 + k // len(metrics), sample_seed=0, run=f"run-{i:03}")
        for i in range(runs)
        for k, metric in enumerate(metrics * (each // len(metrics)))
    ]


def test_a_large_leaderboard_is_short_and_says_where_the_rest_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_views, "SHORT", 26 * 40)
    save(Root(tmp_path), crowd(26, 60))
    content = gather(Root(tmp_path))
    site = pages_of(content, pages.index)
    [whole] = views(content.qualities, content)
    [short] = leaderboard([whole])
    assert (len(whole.table.columns), short.columns) == (60, 60)
    text = site["index.html"]
    assert f'href="{short.whole}"' in text
    assert "40 of 60 columns." in text
    assert text.count("<data ") == 26 * 40
    page = site[short.whole]
    assert page.count("<data ") == 26 * 60
    assert 'href="../runs/run-000.html#row-' in page


def test_short_tables_keep_few_steps_and_first_metrics_in_order() -> None:
    [table] = tables.quality(frame(*crowd(3, 60)))
    [view] = views([table], Stub())  # type: ignore[arg-type]
    wide = [replace(view) for _ in range(SHORT // 9)]  # so many that each gets a few columns
    short = leaderboard(wide)[0].table
    kept = [(column.metric, column.steps) for column in short.columns]
    assert kept == [("frechet_distance", 1), ("frechet_distance", 2), ("frechet_distance_infinite", 1)]
    for line, other in zip(short.lines, table.lines, strict=True):
        assert [c.mean for c in line.cells] == [other.cells[table.columns.index(column)].mean for column in short.columns]


class Stub:
    """Of a Content what `views` looks at."""

    published = ()
    descriptions: dict[str, Any] = {}  # noqa: RUF012


def test_a_cell_of_many_rows_names_a_few(tmp_path: Path) -> None:
    given = made_up({"soflow": 1.0}, draw=random.Random(0), seeds=3, sample_seeds=20)
    text = made(Root(tmp_path), given)["index.html"]
    assert "and 54 more" in text
    assert all(row_id(r) in text for r in given)  # in the folded table
