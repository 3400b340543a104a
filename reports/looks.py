"""How a method looks: one colour and mark in every chart, told apart also by readers who see few colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports.svg import INK, legend

Dash = tuple[float, tuple[float, ...]]  # offset; lengths drawn and left out

# After Okabe and Ito: distinct for colour-blind readers, with enough contrast on white and on near-black.
COLOURS = {"soflow": "#D55E00", "meanflow": "#0E7FC1", "flow_matching": "#009E73"}
FURTHER = ("#CC79A7", "#B8860B", "#56B4E9", "#8C6BB1", "#7F7F7F")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Dash, ...] = ((0, ()), (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)))
FLOOR_DASH: Dash = (0, (4, 3))


@dataclass(frozen=True)
class Look:
    colour: str
    mark: str
    dash: Dash


Looks = Mapping[str, Look]  # by line


def looks_of(names: Sequence[tuple[str, str]]) -> dict[str, Look]:
    """(line, method) pairs -> each line's look. Colour and mark follow the method, dashes tell lines of one method apart."""
    methods = sorted({method for _, method in names})
    others = [method for method in methods if method not in COLOURS]
    order = [*COLOURS, *others]
    found = {}
    for method in methods:
        colour = COLOURS.get(method) or FURTHER[others.index(method) % len(FURTHER)]
        for i, line in enumerate(sorted({line for line, of in names if of == method})):
            found[line] = Look(colour, MARKS[order.index(method) % len(MARKS)], DASHES[i % len(DASHES)])
    return found


def draw_points(
    axes: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    look: Look,
    *,
    xerr: float | None,
    yerr: list[list[float]],
    joined: bool,
) -> None:
    """Marks with error bars, `yerr` as lengths below and above, joined by a line or not."""
    axes.errorbar(
        xs,
        ys,
        xerr=xerr,
        yerr=yerr,
        color=look.colour,
        marker=look.mark,
        markersize=5 if joined else 7,
        linestyle=look.dash if joined else "none",
        linewidth=1.6,
        elinewidth=1.1,
        capsize=2.5,
    )


def legend_of(
    axes: Axes, names: Sequence[str], looks: Looks, *, lines: bool = True, marks: bool = True, floor: str = ""
) -> None:
    """The legend of some lines in alphabetical order; `floor` names the dashed line, where there is one."""
    shown = sorted(names)
    handles = []
    for look in (looks[name] for name in shown):
        dash: Dash | Literal["none"] = look.dash if lines else "none"
        mark = look.mark if marks else ""
        handles.append(Line2D([], [], color=look.colour, linestyle=dash, marker=mark, markersize=5, linewidth=1.6))
    if floor:
        handles.append(Line2D([], [], color=INK, linestyle=FLOOR_DASH, linewidth=1))
    legend(axes, handles, [*shown, *filter(None, [floor])])
