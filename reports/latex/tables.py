r"""The tables of this suite in LaTeX (booktabs), as wide as the text of an article and no higher than its page.

result_table(table)                                     # quality, cost: a section for each metric
text_table("Training step", notes, heads, lines, numbers)
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

from reports.cells import MISSING
from reports.latex.fit import SIZES, Block, Entry, Row, Span, fitted
from reports.latex.floats import environments
from reports.table import ASIDE, LEVEL, Cell, Table

NEEDS = "% needs \\usepackage{booktabs}\n"  # what begins a file of them
BESIDE = re.compile(rf"(.*\S) \(({'|'.join(map(re.escape, ASIDE.values()))}) ([^()]+)\)")  # "0.276 (sampling sd 0.014)"
MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")
WITH_STEPS = SIZES
WITHOUT_STEPS = SIZES[:-1]  # these columns rather go into another tabular than into the smallest type


def result_table(table: Table) -> str:
    """Step counts are columns, metrics sections; metrics without steps are columns of further tabulars."""
    names = {cell.aside_name for line in table.lines for cell in line.cells if cell.aside}
    name = next(iter(names)) if len(names) == 1 else ""
    blocks = [block for block in (_with_steps(table, name), _without_steps(table, name)) if block]
    blocks[0] = _with_seeds(table, blocks[0])
    sizes = (WITH_STEPS if any(row.section for row in blocks[0].rows) else WITHOUT_STEPS, WITHOUT_STEPS)
    found = [fitted(block, allowed) for block, allowed in zip(blocks, sizes, strict=False)]
    size = max((fits[0].size for fits in found), key=SIZES.index)  # one type for all of them
    notes = [", ".join(table.shared_seeds), *_aside_note(name), table.note, *(failure.text for failure in table.failures)]
    return environments(table.title, notes, [(block, fitted(block, (size,))) for block in blocks])


def text_table(
    title: str, notes: Sequence[str], heads: Sequence[str], lines: Sequence[Sequence[str]], numbers: Sequence[bool]
) -> str:
    """Of texts; `numbers`: by column, that it is aligned to the right. Columns without a value are left out and named."""
    used = [i for i in range(len(heads)) if i == 0 or not lines or any(line[i] not in ("", MISSING) for line in lines)]
    lost = [head for i, head in enumerate(heads) if i not in used]
    parts = [BESIDE.fullmatch(text) for line in lines for text in line]
    names = {part[2] for part in parts if part}
    name = next(iter(names)) if len(names) == 1 else ""
    sections = len(used) > 2 and not numbers[0] and _are_sections([line[0] for line in lines])
    used = used[1:] if sections else used
    rows = tuple(
        Row(tuple(_text_entry(line[i], name, number=numbers[i]) for i in used), line[0] if sections else "") for line in lines
    )
    block = Block(tuple(heads[i] for i in used), tuple(numbers[i] for i in used), rows)
    told = [f"Left out, without a value: {', '.join(lost)}"] if lost else []
    return environments(title, [*_aside_note(name), *notes, *told], [(block, fitted(block))])


def _are_sections(names: Sequence[str]) -> bool:
    """Each stands before many lines that follow one another: the name of them all, that need not be in every one."""
    runs = [name for name, _ in itertools.groupby(names)]
    return bool(names) and all(names) and 3 * len(runs) <= len(names) and len(runs) == len(set(runs))


def _aside_note(name: str) -> list[str]:
    return [f"In parentheses: {name}"] if name else []


# Entries


def _cell_entry(cell: Cell, name: str) -> Entry:
    text = MINUS.sub("−", f"{LEVEL} {cell.text}" if cell.level else cell.text)
    value = Span(text, "bold" if cell.best else "")
    if not cell.aside:
        return Entry((value,))
    return Entry((value, Span(f"({cell.aside})", "aside") if name else Span(f"({cell.aside_name} {cell.aside})")))


def _text_entry(text: str, name: str, *, number: bool) -> Entry:
    if name and (found := BESIDE.fullmatch(text)):
        return Entry((Span(MINUS.sub("−", found[1])), Span(f"({found[3]})", "aside")))
    return Entry((Span(MINUS.sub("−", text) if number else text),))


# Blocks


def _with_steps(table: Table, name: str) -> Block | None:
    counts = {column.steps: column.steps_text for column in table.columns if column.steps is not None}
    steps = sorted(counts)
    rows = []
    for metric, title in {c.metric: c.metric_text for c in table.columns if c.steps is not None}.items():
        places = {column.steps: i for i, column in enumerate(table.columns) if column.metric == metric}
        for line in table.lines:
            cells = [line.cells[places[count]] if count in places else Cell("missing", MISSING) for count in steps]
            rows.append(Row((Entry((Span(line.name),)), *(_cell_entry(cell, name) for cell in cells)), title))
    heads = ("method", *(counts[count] for count in steps))
    return Block(heads, (False, *(True for _ in steps)), tuple(rows)) if steps else None


def _without_steps(table: Table, name: str) -> Block | None:
    places = [i for i, column in enumerate(table.columns) if column.steps is None]
    rows = [Row((Entry((Span(li.name),)), *(_cell_entry(li.cells[i], name) for i in places))) for li in table.lines]
    heads = ("method", *(table.columns[i].metric_text for i in places))
    return Block(heads, (False, *(True for _ in places)), tuple(rows)) if places else None


def _with_seeds(table: Table, block: Block) -> Block:
    """With a column for each kind of seeds of which not all lines have as many; the caption says what all have."""
    heads, numbers, rows = block.heads, block.numbers, block.rows
    for kind, counts in table.seed_texts.items():
        if len(set(counts)) > 1:
            heads, numbers = (*heads, f"{kind} seeds"), (*numbers, True)
            pairs = zip(rows, itertools.cycle(counts), strict=False)
            rows = tuple(replace(row, cells=(*row.cells, Entry((Span(count),)))) for row, count in pairs)
    return Block(heads, numbers, rows)
