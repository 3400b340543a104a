"""Every line of a table against the best of each column, with the interval: what the marks in the table rest on."""

from reports.grids import Grid
from reports.table import Table

HEADS = ("score", "difference of", "value", "95 % interval", "p, after Holm", "verdict")


def differences_grid(table: Table) -> Grid:
    """One line a comparison that the rows answer, values in the unit of the column's head; none where nothing was asked."""
    lines = [
        (column.full_head, f"{pair.first} − {pair.second}", texts[0], f"{texts[1]} to {texts[2]}", texts[3], pair.verdict)
        for i, column in enumerate(table.columns)
        for pair in table.against_best(i)
        if (texts := pair.texts(column.divisor))
    ]
    notes = (f"Protocol {table.group['protocol']}.", "Holm's correction is over all pairs of a column.")
    return Grid(f"Differences from the best of each column: {table.title}", HEADS, tuple(lines), notes)
