"""Lines are told apart by whoever sees few colours, on a light and on a dark page."""

import itertools
import math

import pytest

from reports.charts.interactive import dash_text
from reports.charts.looks import COLOURS, FURTHER, looks_of

LINEAR_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
SEEN = {  # Machado, Oliveira and Fernandes 2009, full severity, on linear RGB
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
}
Triple = tuple[float, ...]


def times(matrix: tuple[Triple, ...], vector: Triple) -> Triple:
    return tuple(sum(a * b for a, b in zip(line, vector, strict=True)) for line in matrix)


def linear(colour: str) -> Triple:
    parts = [part / 255 for part in bytes.fromhex(colour[1:])]
    return tuple(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)


def lab(rgb: Triple) -> Triple:
    """Linear RGB in [0, 1] -> CIE L*a*b*, in which distances are about what eyes tell apart (2.3: just so)."""
    cube = [
        t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116
        for t in (value / white for value, white in zip(times(LINEAR_TO_XYZ, rgb), (0.95047, 1.0, 1.08883), strict=True))
    ]
    return 116 * cube[1] - 16, 500 * (cube[0] - cube[1]), 200 * (cube[1] - cube[2])


def apart(one: str, other: str, seen: str) -> float:
    first, second = (tuple(min(1.0, max(0.0, v)) for v in times(SEEN[seen], linear(colour))) for colour in (one, other))
    return math.dist(lab(first), lab(second))


@pytest.mark.parametrize("seen", SEEN)
def test_colours_are_told_apart(seen: str) -> None:
    for one, other in itertools.combinations(COLOURS.values(), 2):
        assert apart(one, other, seen) > 35, (one, other)
    for one, other in itertools.combinations([*COLOURS.values(), *FURTHER], 2):
        assert apart(one, other, seen) > 15, (one, other)


@pytest.mark.parametrize("colour", [*COLOURS.values(), *FURTHER])
def test_colours_stand_out_from_both_papers(colour: str) -> None:
    """3 to 1 is what WCAG asks of graphics."""
    for sheet in ("#ffffff", "#1b1e21"):
        low, high = sorted(times(LINEAR_TO_XYZ, linear(paper))[1] for paper in (colour, sheet))
        assert (high + 0.05) / (low + 0.05) >= 3


def test_methods_differ_in_colour_or_mark_and_lines_of_one_method_in_dash() -> None:
    looks = looks_of([(f"method {i}", f"method {i}") for i in range(20)])
    assert len({(look.colour, look.mark) for look in looks.values()}) == 20
    lines = looks_of([(f"soflow (p={i})", "soflow") for i in range(6)])
    assert len({dash_text(look.dash) for look in lines.values()}) == 6
    assert len({look.colour for look in lines.values()}) == 1
