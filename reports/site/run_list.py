"""All runs as one table: what ran, how it ended, where, from which code, and the command that makes it again.

grid = run_list(content)
"""

from bench.rows import Row
from reports.grids import DASH, Grid
from reports.site.content import Content
from reports.site.runs import NOT_RECORDED, Entry

NAME = "all-runs"  # of its files in data/
NUMBERS = ("epochs", "training seed", "rows")
HEADS = ("run", "state", "method", "data set", "net", *NUMBERS, "device", "commit", "started", "command")


def run_list(content: Content) -> Grid:
    """One line a run, by name. What a run did not record is a dash."""
    lines = tuple(_line(entry, content.stored_of.get(entry.run, [])) for entry in content.runs)
    return Grid("All runs", HEADS, lines)


def _line(entry: Entry, rows: list[Row]) -> tuple[str, ...]:
    task = entry.task
    epochs = f"{task['epochs']:g}" if isinstance(task["epochs"], (int, float)) else str(task["epochs"])
    recorded = dict(entry.facts)["device"]
    what = (str(task["method"]), str(task["dataset"]), str(task["net"]), epochs, str(task["seed"]))
    devices = ", ".join(dict.fromkeys(row.device for row in rows)) or ("" if recorded == NOT_RECORDED else recorded)
    found = (entry.run, entry.state, *what, str(len(rows)), devices, entry.commit, entry.started, entry.command)
    return tuple(text or DASH for text in found)
