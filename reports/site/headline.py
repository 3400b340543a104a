"""What the numbers say, in a sentence or two: who is best, by how much, and whether the seeds settle it."""

from reports.compare import Comparison
from reports.table import Cell, Column, Line, Table


def quality_sentences(table: Table) -> list[str]:
    """The best method by the first column (Fréchet distance at the fewest steps), and how sure that is."""
    column = table.columns[0]
    found = _ordered(table, 0)
    at = f"At {column.steps_text}, " if column.steps_text else ""
    if not found:
        return ["No method has a value yet."]
    first, best = found[0]
    if len(found) == 1:
        return [
            f"{at}only {first.name} has a value: {column.head} {_valued(best, column)}.",
            "There is nothing to compare it with.",
        ]
    second, other = found[1]
    if best.mean == other.mean:
        return [f"{at}{first.name} and {second.name} are level: {column.head} {_valued(best, column)}."]
    pairs = table.against_best(0)
    settled = bool(pairs) and all(pair.settled for pair in pairs)
    certainty = [words for pair in pairs if pair.first == second.name for words in _certainty(pair, pairs, column)]
    if any(pair.undecided for pair in pairs if pair.first == second.name):
        values = f"{column.head} {_valued(best, column)} and {_valued(other, column)}"
        return [f"{at}{first.name} and {second.name} are not distinguishable: {values}.", *certainty]
    values = f"{column.head} {_valued(best, column)} against {_valued(other, column)} for {second.name}"
    verb = "is best" if settled else "is ahead"  # "best" is a claim; it takes training seeds that agree
    return [f"{at}{first.name} {verb}: {values}{_by(best, other, column)}.", *certainty]


def cost_sentences(table: Table) -> list[str]:
    """The method that trains fastest, and by what factor."""
    indices = table.column_indices("train_images_per_second")
    found = _ordered(table, indices[0]) if indices else []
    if len(found) < 2 or not found[1][1].mean or not found[0][1].mean or found[0][1].mean == found[1][1].mean:
        return []
    (first, fast), (second, slow) = found[:2]
    factor = found[0][1].mean / found[1][1].mean
    unit = table.columns[indices[0]].raw_unit
    times = f"{factor:.2g}" if factor < 100 else f"{factor:,.0f}"
    undecided = any(pair.first == second.name and pair.undecided for pair in table.against_best(indices[0]))
    remark = ["The two are not distinguishable."] if undecided else []
    return [f"{first.name} trains fastest: {fast.text} {unit}, {times} times {second.name} ({slow.text}).", *remark]


def _ordered(table: Table, index: int) -> list[tuple[Line, Cell]]:
    sign = -1.0 if table.columns[index].better == "max" else 1.0
    found = [(line, line.cells[index]) for line in table.lines if line.cells[index].values]
    return sorted(found, key=lambda item: sign * (item[1].mean or 0.0))


def _valued(cell: Cell, column: Column) -> str:
    return f"{cell.text} {column.unit}".rstrip()


def _by(best: Cell, other: Cell, column: Column) -> str:
    if best.mean is None or other.mean is None or best.mean <= 0 or other.mean <= 0:
        return ""  # a share of a negative or zero distance says nothing
    share = abs(other.mean - best.mean) / other.mean
    return f" ({_percent(100 * share)} % {'higher' if column.better == 'max' else 'lower'})"


def _percent(value: float) -> str:
    return f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"


def _certainty(nearest: Comparison, pairs: list[Comparison], column: Column) -> list[str]:
    """What the rows say of the best and the second, and who else may well be the best; see reports.compare."""
    second, first = nearest.first, nearest.second
    text = nearest.text(column.divisor, column.unit)
    if nearest.methods:
        seeds = f"over {nearest.seeds[1]} and {nearest.seeds[0]} training seeds"
        if not nearest.distinguishable:
            return [f"{text}: not distinguishable {seeds}, so the order is not settled."]
        others = [pair.first for pair in pairs if not pair.settled]
        also = f"Not settled against {first}: {', '.join(others)}."
        return [f"{text}: distinguishable {seeds}.", *([also] if others else [])]
    single = [name for name, seeds in ((first, nearest.seeds[1]), (second, nearest.seeds[0])) if seeds < 2]
    names = f"{single[0]} has one training seed" if len(single) == 1 else f"{first} and {second} have one training seed each"
    unsettled = f"{names}: how far seeds scatter is not known, so the order is not settled."
    if not nearest.networks:
        return [unsettled]
    words = "distinguishable" if nearest.distinguishable else "not distinguishable"
    return [unsettled, f"These two networks, on the same noises and labels: {text}, {words}."]
