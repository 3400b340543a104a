"""The tables of a method's page as files: its settings, scores and stability.

for found in method_grids(view).all: exports.add_grid(folder, *found)
"""

from dataclasses import dataclass

from reports.grids import DASH, Grid
from reports.numbers import number
from reports.papers.method_page import MethodView, Scores
from reports.papers.recipes import Recipes
from reports.papers.stability import SPIKE, Reading, Steadiness
from reports.site.exports import name_of

Named = tuple[str, Grid]  # a name of its own in the site, as `exports.add_grid` takes it
NO_LOG = "no training log here"


@dataclass(frozen=True)
class MethodGrids:
    settings: tuple[Named, ...]  # one a sheet of recipes, in the order of the page
    scores: tuple[Named, ...]  # one a line and protocol
    stability: Named

    @property
    def all(self) -> tuple[Named, ...]:
        """Those that say something: where no setting was recorded, there is no table."""
        return (*((name, grid) for name, grid in self.settings if grid.lines), *self.scores, self.stability)


def method_grids(view: MethodView) -> MethodGrids:
    def named(kind: str, place: int, grid: Grid) -> Named:
        return name_of(kind, view.method, str(place)), grid

    return MethodGrids(
        settings=tuple(named("settings", i, _settings(view, sheet)) for i, sheet in enumerate(view.recipes)),
        scores=tuple(named("scores", i, _scores(view, part)) for i, part in enumerate(view.scores)),
        stability=named("stability", 0, _stability(view)),
    )


def _settings(view: MethodView, sheet: Recipes) -> Grid:
    """What the page marks with ≠ is a column here, so that the values stay values."""
    names = sheet.names
    lines = []
    for part in sheet.parts:
        for row in part.rows:
            unlike = [name for name, differs in zip(names, row.differs, strict=True) if differs]
            paper = (row.theirs, *row.ours, ", ".join(unlike) or DASH) if sheet.paper else row.ours
            lines.append((part.title, row.key or row.name, *paper, row.meaning or DASH))
    heads = ("the paper", *names, "not as in the paper") if sheet.paper else names
    notes = (f"The paper: {sheet.paper}.", f"Source: {sheet.source}.") if sheet.paper else ()
    return Grid(f"Settings of {view.name}: {sheet.title}", ("part", "setting", *heads, "what it is"), tuple(lines), notes)


def _scores(view: MethodView, part: Scores) -> Grid:
    heads = ("score", *("1 step" if steps == 1 else f"{steps} steps" for steps in part.steps))
    lines = tuple((text, *(pair[1].full_text if pair else DASH for pair in cells)) for text, cells in part.rows)
    seeds = [f"Training seeds: {part.line.seeds_text}."]
    seeds += [f"Sampling seeds: {part.line.sampling_text}."] if part.line.sampling_text else []
    notes = (*seeds, f"Protocol {part.table.group['protocol']}.")
    return Grid(f"Scores of {part.line.name or view.name} by number of steps: {part.table.title}", heads, lines, notes)


def _stability(view: MethodView) -> Grid:
    extremes = [(name, f"epoch of the {name}") for name in ("lowest mse", "highest mse", "largest gradient norm")]
    heads = ("run", "line", "final mse", *(head for pair in extremes for head in pair))
    heads += ("spikes", "not finite", "went on elsewhere", "failures")
    lines = tuple((found.run, line or DASH, *_readings(found), _failures(found)) for line, found in view.stability)
    return Grid(f"Stability of the runs of {view.name}", heads, lines, (SPIKE,))


def _readings(found: Steadiness) -> tuple[str, ...]:
    if not found.lines:
        return (*(DASH,) * 9, str(found.resumed))
    texts = [_value(found.final)]
    for reading in (found.lowest, found.highest, found.norm):
        texts += [_value(reading), _epoch(reading)]
    return (*texts, str(len(found.spikes)), str(len(found.not_finite)), str(found.resumed))


def _value(reading: Reading | None) -> str:
    return number(reading.value) if reading else DASH


def _epoch(reading: Reading | None) -> str:
    return f"{reading.epoch:.4g}" if reading and reading.epoch is not None else DASH


def _failures(found: Steadiness) -> str:
    said = "; ".join(found.reasons) if found.reasons else "none"
    return said if found.lines else f"{said}; {NO_LOG}"
