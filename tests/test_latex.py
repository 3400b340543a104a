r"""Tables in LaTeX: as wide as a page and no wider, every text in its place, and no name that gets out of it."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from latex_samples import (
    HOSTILE_NAMES,
    block_of,
    body,
    everything,
    kinds,
    measured_sheet,
    number_grid,
    span,
    tabulars,
    text_grid,
)  # fmt: skip
from reports import sheets
from reports.grids import Grid
from reports.latex.fit import INDENT, LIMIT, PAGE, SHARE, SIZES, fitted
from reports.latex.text import LONG, LONGEST, breakable, escape_latex, lines_of, narrowest, pieces, width

# Widths


@pytest.mark.parametrize(
    ("text", "points"),  # as pdflatex measures them
    [("0.2761", 27.78), ("abcdefghijklmnopqrstuvwxyz", 127.58), ("images/s", 36.5), ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 184.7)],
)
def test_widths_are_those_of_computer_modern_and_not_below(text: str, points: float) -> None:
    assert points <= width(text) + 0.5 <= 1.08 * points + 0.5


def test_widths_add_up_and_bold_is_wider() -> None:
    assert width("11 11") == pytest.approx(4 * 5.0 + 3.4)
    assert width("111", bold=True) == pytest.approx(1.16 * 15.0)
    assert width("é") == width("e")
    assert width("名") == width("U+540D")


def test_a_text_is_cut_into_lines_that_fit() -> None:
    assert lines_of("11 11 11", 23.5) == ["11 11", "11"]
    assert lines_of("11 11 11", 23.3) == ["11", "11", "11"]
    assert lines_of("1 step ↓ 2", 30.0) == ["1", "step ↓", "2"]  # an arrow stays with its word
    assert lines_of("digits-soflow-T-2", 45.0) == ["digits-", "soflow-T-", "2"]
    assert narrowest("digits-soflow-T-2") == width("soflow-")
    for name in HOSTILE_NAMES:
        assert narrowest(name) <= 20 * 10.3
        assert "".join(pieces(name)).split() == "".join(pieces(name)).strip().split()


# Text


def test_every_character_is_written_and_none_does_anything() -> None:
    assert escape_latex(r"\&%$#_{}") == r"\textbackslash{}\&\%\$\#\_\{\}"
    assert escape_latex("~^<>|[x]*") == r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}{[}x]{*}"
    assert escape_latex("6.17 † ‡ §") == r"6.17 \dag{} \ddag{} \S{}"
    assert escape_latex("−0.5 ± 1 ≈ 2–3 ↓") == r"$-$0.5 $\pm$ 1 $\approx$ 2--3 $\downarrow$"
    assert escape_latex("--dataset a---b ?` ''") == "-{}-dataset a-{}-{}-b ?{}` '{}'"  # no dash of two hyphens
    assert escape_latex("é 名 ½ ﬁ \x00 a\n\tb") == "é U+540D 12 fi U+0000 a  b"


def test_long_words_may_break_and_short_ones_stay() -> None:
    assert breakable("flow_matching is") == r"flow\_\allowbreak{}matching is"
    assert breakable("digits-n2000/random") == r"digits-\allowbreak{}n2000/\allowbreak{}random"
    assert breakable("a_b  c-d") == r"a\_b c-d"
    assert breakable("y" * LONG) == "y" * LONG
    cut = breakable("x" * 300)
    assert cut.replace(r"\allowbreak{}", "") == "x" * 300
    assert max(map(len, cut.split(r"\allowbreak{}"))) <= LONGEST


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_name_gets_out_of_its_cell(name: str) -> None:
    for text in (escape_latex(name), breakable(name)):
        left = re.sub(r"\\[&%$#_{}]|\\(?:text\w+|allowbreak)\{\}|\{\[\}|\{\*\}|\{\}|\$-\$|\\textsuperscript\{\w\}", "", text)
        assert not re.search(r"[\\&%$#_{}~^<>|*\[\n\x00]", left), left
        assert all(char.isprintable() for char in text)


# Fitting


@pytest.mark.parametrize("columns", range(1, 30))
def test_numbers_get_the_largest_type_that_fits(columns: int) -> None:
    text = number_grid(columns).render("latex")
    [size] = [
        s for s in SIZES if f"\\medskip\n{s.command}\n\\setlength{{\\tabcolsep}}{{{s.gap}pt}}".replace("\n\n", "\n") in text
    ]
    needs = [width("name") * s.scale + columns * (25.0 * s.scale + 2 * s.gap) for s in SIZES]
    fits = [s for s, points in zip(SIZES, needs, strict=True) if points <= LIMIT]
    assert (len(tabulars(text)) == 1) == bool(fits)
    assert not fits or size == fits[0]


def test_every_size_of_type_is_used_and_smaller_is_smaller() -> None:
    grids = [number_grid(columns, digits) for columns in range(1, 12) for digits in range(1, 17)]
    assert {fitted(block_of(grid))[0].size for grid in grids} == set(SIZES)
    assert [size.scale for size in SIZES] == sorted((size.scale for size in SIZES), reverse=True)
    assert [size.command for size in SIZES] == ["", r"\small", r"\footnotesize", r"\footnotesize", r"\scriptsize"]


@pytest.mark.parametrize("columns", [20, 40])
def test_what_does_not_fit_is_split_and_the_first_column_repeated(columns: int) -> None:
    text = number_grid(columns).render("latex")
    heads = [rows[0] for _, rows in tabulars(text)]
    assert all(head[0] == "name" for head in heads)
    assert [head for found in heads for head in found[1:]] == [f"h{i}" for i in range(columns)]
    assert max(map(len, heads)) - min(map(len, heads)) <= 3
    assert text.count(r"\begin{table}") == 1
    assert all(fit.width <= LIMIT for fit in fitted(block_of(number_grid(columns))))


def test_long_texts_are_columns_of_fixed_width_and_numbers_stay_on_the_right() -> None:
    [(columns, rows)] = tabulars(text_grid().render("latex"))
    assert kinds(columns) == ["l", "r", "r", "p"]
    assert re.fullmatch(r"lrrp\{0\.\d\d\\linewidth\}", columns)
    assert all(cells[-1].startswith(r"\raggedright") for cells in rows[-3:])
    text = text_grid().render("latex")
    assert text.count(r"\tabularnewline") == len(rows)
    assert r" \\" not in text.partition(r"\begin{tabular}")[2]  # \raggedright means something else by it
    assert r"adaptive\_\allowbreak{}weight" in text


@pytest.mark.parametrize("grid", [text_grid(), text_grid(60, 90), text_grid(2, 200, 6)])
def test_columns_of_fixed_width_leave_room_for_the_others(grid: Grid) -> None:
    for fit in fitted(block_of(grid)):
        assert fit.width <= LIMIT
        room = LIMIT - 2 * fit.size.gap * (len(fit.columns) - 1)
        whole = [
            max(width(line[i]) for line in grid.lines) * fit.size.scale
            for i, share in zip(fit.columns, fit.shares, strict=True)
            if not share
        ]
        assert sum(whole) + sum(fit.shares) * SHARE <= room + 1e-6
        for i, share in zip(fit.columns, fit.shares, strict=True):
            assert not share or narrowest(" ".join(line[i] for line in grid.lines)) * fit.size.scale <= share * SHARE


def test_a_number_that_takes_half_the_page_may_break() -> None:
    [fit] = fitted(block_of(Grid("", ("a", "b"), (("x", "1 " + "word " * 60),))))
    assert (fit.right, bool(fit.shares[1])) == ((False, False), True)


def test_columns_without_a_value_are_left_out_and_named() -> None:
    text = Grid("T", ("a", "b", "c"), (("–", "–", "1"), ("–", "", "2"))).render("latex")
    assert body(text) == [["a", "c"], ["--", "1"], ["--", "2"]]
    assert r"Left out, without a value: b.\par}" in text
    measured = sheets.render([measured_sheet()], "latex")
    assert "Left out" not in measured
    assert [cells[3] for cells in body(measured)[-2:]] == [r"12.0 $\pm$ 0.2", "--"]


def test_a_first_column_that_repeats_itself_becomes_sections() -> None:
    lines = [(part, f"s{i}", "1") for part in ("Training", "Method") for i in range(4)]
    text = Grid("Settings", ("part", "setting", "value"), tuple(lines)).render("latex")
    rows = body(text)
    assert rows[0] == ["setting", "value"]
    assert [cells[0] for cells in rows if len(cells) == 1] == [
        rf"\multicolumn{{2}}{{@{{}}l@{{}}}}{{\emph{{{part}}}}}" for part in ("Training", "Method")
    ]
    assert [cells for cells in rows[1:] if len(cells) > 1] == [[rf"\quad s{i}", "1"] for i in (0, 1, 2, 3) * 2]
    plain = block_of(text_grid(words=2))
    indented = replace(plain, rows=tuple(replace(row, section="x") for row in plain.rows))
    assert fitted(indented)[0].width - fitted(plain)[0].width == pytest.approx(INDENT)
    mixed = Grid("Settings", ("part", "setting", "value"), (*lines, lines[0])).render("latex")
    assert body(mixed)[0] == ["part", "setting", "value"]


def test_what_is_higher_than_a_page_goes_on_in_another_table() -> None:
    grid = text_grid(60, 90)
    text = grid.render("latex")
    parts = re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, flags=re.DOTALL)
    assert len(parts) > 1
    assert [cells[0] for cells in body(text) if cells[0].startswith("name")] == [escape_latex(li[0]) for li in grid.lines]
    counts = [len(body(part)) for part in parts]
    assert max(counts) - min(counts) <= 4  # about as high as one another
    assert all(r"{Settings, continued.}" in part and "what it is" in part for part in parts[1:])
    [fit] = fitted(block_of(grid))
    assert fit.height(block_of(grid).rows) > PAGE
    many = Grid("Many", ("a",), tuple((f"x{i}",) for i in range(700))).render("latex")
    assert many.count(r"\begin{table}") > 10
    assert many.count("\n\\clearpage\n") == (many.count(r"\begin{table}") - 1) // 10


# All of them


def test_notes_of_half_a_page_follow_the_table_and_take_none_of_its_room() -> None:
    text = Grid("T", ("a", "b"), (("x", "1"), ("y", "2"), ("z", "3")), ("word " * 2000,)).render("latex")
    assert text.count(r"\begin{table}") == 1
    assert "word" in text.partition(r"\end{table}")[2]
    assert "word" not in text.partition(r"\end{table}")[0]


def test_all_tables_are_balanced_and_every_row_fills_its_columns() -> None:
    for text in everything():
        assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{table}\n")
        assert not re.search(r"\\usepackage|tabularx|resizebox|\\makecell|>\{", text.partition("\n")[2])
        opened: list[str] = []
        for kind, name in re.findall(r"(?<!\\)\\(begin|end)\{(\w+)\}", text):
            if kind == "begin":
                opened.append(name)
            else:
                assert opened.pop() == name
        assert not opened
        for columns, rows in tabulars(text):
            assert {span(cells) for cells in rows} == {len(kinds(columns))}
        depth = 0
        for brace in re.findall(r"(?<!\\)[{}]", text.replace(r"\\", "")):
            depth += 1 if brace == "{" else -1
            assert depth >= 0
        assert depth == 0


def why_not() -> str:
    """Why nothing can be compiled here; "" where it can."""
    if shutil.which("pdflatex") is None:
        return "pdflatex is not on the PATH: apt-get install texlive-latex-recommended"
    found = subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode == 0
    return "" if found else "LaTeX has no booktabs: apt-get install texlive-latex-recommended"


def compiled(content: str, folder: Path) -> str:
    """What pdflatex says of an article."""
    source = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{content}" + "\n\\end{document}\n"
    (folder / "all.tex").write_text(source, encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(words, cwd=folder, capture_output=True, check=False)
    said = done.stdout.decode("utf-8", "replace").replace("\r", "")
    assert done.returncode == 0, said[-2000:]
    return said


@pytest.mark.skipif(why_not() != "", reason=why_not() or "it can be compiled")
def test_an_article_takes_every_table(tmp_path: Path) -> None:
    said = compiled("\n\\clearpage\n".join(everything()), tmp_path)
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", said)]
    assert max(wide, default=0.0) <= 1.0, re.findall(r"Overfull.*", said)
    assert "Float too large" not in said
    assert not re.findall(r"^!.*|Missing character.*", said, flags=re.MULTILINE)


@pytest.mark.skipif(why_not() != "", reason=why_not() or "it can be compiled")
def test_widths_are_those_that_latex_finds(tmp_path: Path) -> None:
    claims = [text for pairing in sheets.sheets([], {})[0].pairings for text in sheets.texts(pairing)]
    texts = [*dict.fromkeys(claims), "0.276 ± 0.014", "≈ 1,438", "Fréchet distance, n → ∞ ↓", *HOSTILE_NAMES[:6]]
    boxes = [rf"\setbox0\hbox{{{escape_latex(text)}}}\typeout{{width=\the\wd0}}" for text in texts]
    boxes += [rf"\setbox0\hbox{{{size.command}{{}}{escape_latex(texts[0])}}}\typeout{{width=\the\wd0}}" for size in SIZES]
    found = [float(points) for points in re.findall(r"width=([\d.]+)pt", compiled("\n".join(boxes), tmp_path))]
    estimates = [width(text) for text in texts] + [width(texts[0]) * size.scale for size in SIZES]
    for text, points, estimate in zip([*texts, *SIZES], found, estimates, strict=True):
        assert points - 0.5 <= estimate <= 1.1 * points + 2, text
