"""How a method looks: one colour and mark in every chart, told apart also by readers who see few colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Dash = tuple[float, tuple[float, ...]]  # offset; lengths drawn and left out, in widths of the line

# After Okabe and Ito: distinct for colour-blind readers, with enough contrast on white and on near-black.
# tests/test_charts_colours.py measures both, as seen without red or green cones.
COLOURS = {"soflow": "#D55E00", "meanflow": "#0E7FC1", "flow_matching": "#009E73"}
FURTHER = ("#9030F0", "#C078A8", "#D80048", "#7878F0", "#C018A8")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Dash, ...] = (
    *((0, ()), (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5))),
    *((0, (9, 2)), (0, (5, 1.5, 1.5, 1.5, 1.5, 1.5))),
)
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
