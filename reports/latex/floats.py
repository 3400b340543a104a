r"""Fitted tabulars -> table environments with a caption: what is higher than a page goes on in another, a row at least in each.

environments("A title", ["A note."], [(block, fitted(block))])     # \begin{table} ... \end{table}
"""

from collections.abc import Sequence

from reports.latex.fit import BETWEEN, LIMIT, PAGE, Block, Fit, Row, Size
from reports.latex.text import breakable, escape_latex, lines_of, width

LEAST = PAGE / 2  # what a table gets of a page even below a longer caption
WAITING = 10  # tables; LaTeX gives up where too many wait for a page
NOTES = Size(r"\footnotesize", 0.85, 9.5, 4)


def environments(title: str, notes: Sequence[str], fits: Sequence[tuple[Block, Sequence[Fit]]]) -> str:
    """As text that ends with a line break; a note gets its full stop, and the title alone stands in the list of tables."""
    said = " ".join(note if note.endswith((".", "?", "!")) else f"{note}." for note in notes if note)
    beneath = _height(title, said) > PAGE - LEAST  # too much for a float: a paragraph behind it breaks over pages by itself
    room = PAGE - _height(title, "" if beneath else said)
    pages: list[list[str]] = [[]]
    used = 0.0
    for block, own in fits:
        for fit in own:
            for rows in _chunks(fit, block.rows, room):
                height = fit.height(rows)
                if pages[-1] and used + height > room:
                    pages.append([])
                    used = 0.0
                pages[-1].append(tabular(fit, rows))
                used += height
    size = fits[0][1][0].size
    captions = [_caption(title, "" if beneath else said), *(_caption(f"{title}, continued", "") for _ in pages[1:])]
    found = [_environment(caption, size, page) for caption, page in zip(captions, pages, strict=True)]
    floats = "\\clearpage\n".join("".join(found[i : i + WAITING]) for i in range(0, len(found), WAITING))
    return floats + (rf"\noindent{_small(f'{title}: {said}')}" + "\n" if beneath else "")


def _caption(title: str, said: str) -> str:
    """The notes are a paragraph beneath: LaTeX measures a caption in one line, and stops where that is some metres long."""
    caption = rf"\caption[{{{escape_latex(title)}}}]{{{breakable(f'{title}.')}}}"
    return caption + ("\n" + _small(said) if said else "")


def _small(said: str) -> str:
    return rf"{{{NOTES.command}\raggedright {breakable(said)}\par}}"


def _height(title: str, said: str) -> float:
    return 24.0 + 12 * len(lines_of(title, LIMIT)) + NOTES.line * len(lines_of(said, LIMIT / NOTES.scale))


def _environment(caption: str, size: Size, tabulars: Sequence[str]) -> str:
    lines = [r"\begin{table}", r"\centering", caption, r"\medskip"]
    lines += [size.command] if size.command else []
    lines += [rf"\setlength{{\tabcolsep}}{{{size.gap}pt}}", "\n\\par\\medskip\n".join(tabulars), r"\end{table}"]
    return "\n".join(lines) + "\n"


def tabular(fit: Fit, rows: Sequence[Row]) -> str:
    """Some rows of the block that was fitted, with a line for each section where they have sections."""
    count = len(fit.columns)
    end = r" \tabularnewline" if any(fit.shares) else r" \\"
    columns = "".join(
        "r" if right else rf"p{{{share / 100:.2f}\linewidth}}" if share else "l"
        for right, share in zip(fit.right, fit.shares, strict=True)
    )
    high = max(map(len, fit.heads), default=0)
    heads = [["" for _ in range(high - len(lines))] + [escape_latex(line) for line in lines] for lines in fit.heads]
    lines = [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule"]
    lines += [" & ".join(column[k] for column in heads) + end for k in range(high)] + [r"\midrule"]
    section = ""
    for number, row in enumerate(rows):
        if number and (row.section != section or any(fit.shares)):
            lines.append(r"\addlinespace" if row.section != section else rf"\addlinespace[{BETWEEN:g}pt]")
        if row.section != section:
            lines.append(_section(row.section, fit, count) + end)
            section = row.section
        lines.append(_row(row, fit) + end)
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _section(name: str, fit: Fit, count: int) -> str:
    if width(name) * fit.size.scale > LIMIT:
        return rf"\multicolumn{{{count}}}{{@{{}}p{{\linewidth}}@{{}}}}{{\raggedright\emph{{{breakable(name)}}}}}"
    return rf"\multicolumn{{{count}}}{{@{{}}l@{{}}}}{{\emph{{{escape_latex(name)}}}}}"


def _row(row: Row, fit: Fit) -> str:
    cells = []
    for i, share in zip(fit.columns, fit.shares, strict=True):
        text = row.cells[i].latex(fit.size, breaks=bool(share))
        if row.section and i == 0:
            text = rf"\quad {text}"
        if share and text:  # what begins with a space of no width may be broken in its first word
            text = (r"\raggedright\hangindent1em" if row.section and i == 0 else r"\raggedright\hspace{0pt}") + text
        cells.append(text)
    return " & ".join(cells)


def _chunks(fit: Fit, rows: Sequence[Row], room: float) -> list[Sequence[Row]]:
    """The rows in as few parts as the room allows, about as high as one another."""
    heights = [fit.row_height(row) for row in rows]
    count = len(_filled(fit, rows, heights, room))
    even = max(LEAST / 2, fit.height(rows) / count)
    while len(_filled(fit, rows, heights, even)) > count and even < room:
        even *= 1.02
    return _filled(fit, rows, heights, min(even, room))


def _filled(fit: Fit, rows: Sequence[Row], heights: Sequence[float], room: float) -> list[Sequence[Row]]:
    """As many at a time as are no higher than the room; one at least."""
    found: list[list[Row]] = [[]]
    used = fit.head_height
    for row, height in zip(rows, heights, strict=True):
        named = {"", *(before.section for before in found[-1][-1:])}  # rows of a section follow one another
        more = height + fit.section_height * (row.section not in named)
        if found[-1] and used + more > room:
            found.append([])
            used, more = fit.head_height, height + fit.section_height * bool(row.section)
        found[-1].append(row)
        used += more
    return list(found)
