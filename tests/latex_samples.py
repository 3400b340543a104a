r"""Tables to be written in LaTeX, plain and hostile, and a reader of the tabulars that come of them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from published_page import CLAIMS
from reports import forms, sheets, tables
from reports.certificate import certificate, certificate_grid
from reports.claimed import Pairing
from reports.grids import Grid
from reports.latex.fit import Block, Entry, Row, Span
from reports.table import Table
from result_rows import HOSTILE, described, failed, frame, realistic, row

HOSTILE_NAMES = (
    HOSTILE, "a&b%#${x}~^\\", "[x] *y", r"\end{tabular}", "a--b ?` ''", "\\input{x}%", "x" * 300, "\x00\t\n", "a_b/" * 40,
    "\u2028 ½ ﬁ ẽ Ąą \u0301",
)  # fmt: skip
ACCENTED = "".join(map(chr, range(0xA1, 0x250)))
SIX_METRICS = ("frechet_distance", "spatial_frechet_distance", "kernel_distance", "precision", "recall", "class_accuracy")


def wide_quality(*, asides: bool = True, method: str = "flow_matching (guidance=2.0, path=trigonometric)") -> Table:
    """Six metrics at six step counts, of two methods."""
    given = [
        row(name, s, metric, value * (1 + s / 50 + k / 900), steps=steps, sample_seed=k, n=2000)
        for metric in SIX_METRICS
        for steps in (1, 2, 4, 8, 32, 128)
        for name, value in (("soflow", 0.2761), (method, 0.3182))
        for s in ((0,) if asides else (0, 1, 2))
        for k in range(3)
    ]
    [table] = tables.quality(frame(*given))
    return table


def sweep(count: int) -> tuple[Table, dict[str, dict[str, Any]]]:
    """One method under so many recipes, each with settings of its own and a run that failed: long notes, long names."""
    given, known = [], {}
    for i in range(count):
        run = f"digits-soflow-T-2-s0-{i:08x}"
        rates = {"batch": 64 + i, "learning_rate": 1e-4 * (i + 1), "warmup": 100 + i, "ema": 0.99 + i / 1e4, "decay": i / 100}
        given += [row("soflow", 0, value=1.0 + i, steps=steps, run=run) for steps in (1, 2)]
        given += [failed("meanflow", i, run=f"{run}-failed")]
        known[run] = described(run, "soflow", train=rates)
    [table] = tables.quality(frame(*given), known)
    return table, known


def realistic_tables() -> list[Table]:
    given = frame(*realistic())
    return [*tables.quality(given), *tables.cost(given)]


def text_grid(rows: int = 3, words: int = 30, numbers: int = 2) -> Grid:
    """A grid with a long text in each row, and numbers."""
    long = " ".join(["power", "of", "the", "adaptive_weight,"] * words)[: 6 * words]
    heads = ("setting", *(f"epoch of the highest value {i}" for i in range(numbers)), "what it is")
    return Grid("Settings", heads, tuple((f"name_{i}", *(f"{i}.{k}" for k in range(numbers)), long) for i in range(rows)))


def number_grid(columns: int, digits: int = 5) -> Grid:
    return Grid(
        "Numbers", ("name", *(f"h{i}" for i in range(columns))), tuple((name, *(["1" * digits] * columns)) for name in "abc")
    )


def block_of(grid: Grid) -> Block:
    rows = tuple(Row(tuple(Entry((Span(text),)) for text in line)) for line in grid.lines)
    return Block(grid.heads, grid.numeric, rows)


def measured_sheet() -> sheets.Sheet:
    claim = CLAIMS["soflow-b4-1"]
    ours = Pairing(claim=claim, line="soflow", runs=("a-run",), ours=12.0, ours_text="12.0 ± 0.2", differs=("batch: ours 128",))
    return sheets.Sheet("Measured", (ours, Pairing(claim=claim, command="bench run soflow --dataset imagenet_latents")))


def hostile_texts() -> list[str]:
    """Every name at every place where a name may be."""
    found = []
    for name in HOSTILE_NAMES:
        given = [row(name, value=1.0, steps=s) for s in (1, 2)] + [row("soflow", value=2.0), failed(name + "f", 0, reason=name)]
        given += [row(name, metric="train_seconds", value=1.0, unit=name), row(name, metric="latency_ms", steps=1, device=name)]
        found += [forms.render(table, "latex") for table in (*tables.quality(frame(*given)), *tables.cost(frame(*given)))]
        lines = ((name, name, "1"), ("a", name, "2"), (name, "b", "3"), *((name, "c", "4"),) * 9)
        found.append(Grid(name, (name, name, name), lines, (name,)).render("latex"))
    claim = replace(CLAIMS["soflow-b4-1"], source=HOSTILE, note=HOSTILE, setting=HOSTILE, printed=HOSTILE)
    pairing = Pairing(claim=claim, line=HOSTILE, runs=(HOSTILE,), ours=1.0, ours_text=HOSTILE, differs=(HOSTILE,))
    for count in (3, 12, 60):
        table, known = sweep(count)
        found += [forms.render(table, "latex"), certificate_grid(table, certificate(table, known)).render("latex")]
    return [*found, sheets.render([sheets.Sheet(HOSTILE, (pairing,))], "latex")]


def everything() -> list[str]:
    found = [forms.render(table, "latex") for table in (*realistic_tables(), wide_quality(), wide_quality(asides=False))]
    grids = [text_grid(), text_grid(60, 90), text_grid(2, 200, 6), number_grid(6), number_grid(40), number_grid(3, 40)]
    found += [grid.render("latex") for grid in (*grids, Grid("Accents", ("a", "b"), tuple((c, c * 5) for c in ACCENTED)))]
    return [*found, sheets.render([*sheets.sheets([], {}), measured_sheet()], "latex"), *hostile_texts()]


# Reading LaTeX


def tabulars(text: str) -> list[tuple[str, list[list[str]]]]:
    """(columns, rows) of each tabular, a row as its cells, whatever is between the rows left out."""
    found = []
    for columns, body in re.findall(r"\\begin\{tabular\}\{@\{\}(.*?)@\{\}\}\n(.*?)\\end\{tabular\}", text, flags=re.DOTALL):
        lines = [re.fullmatch(r"(.*) (?:\\\\|\\tabularnewline)", line) for line in body.splitlines()]
        found.append((columns, [re.split(r"(?<!\\) ?& ?", line[1]) for line in lines if line]))
    return found


def kinds(columns: str) -> list[str]:
    """["l", "p", "r"] of "lp{0.2\\linewidth}r"."""
    return re.findall("[lrp]", re.sub(r"\{.*?\}", "", columns))


def span(cells: Sequence[str]) -> int:
    return sum(int(found[1]) if (found := re.match(r"\\multicolumn\{(\d+)\}", cell)) else 1 for cell in cells)


def body(text: str) -> list[list[str]]:
    """The rows of all tabulars."""
    return [cells for _, rows in tabulars(text) for cells in rows]
