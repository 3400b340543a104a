"""How sure a value is: standard errors from left-out groups or from blocks, differences on shared images, t tests.

Replicates are kept in the result rows, so that a difference between two methods is judged from rows alone. Imports no torch.
"""

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

JACKKNIFE = "jackknife"  # replicates are values with one group of images left out
BLOCKS = "blocks"  # replicates are values of disjoint blocks of images
CONFIDENCE = 0.95


def standard_error(replicates: Sequence[float], resampling: str) -> float | None:
    """Of the value that the replicates belong to; None below two.

    Delete-group jackknife: sqrt((G - 1) / G sum (r_g - mean r)^2) (Efron & Stein 1981). Blocks: their sample standard
    deviation over the root of their number. No bootstrap: an image drawn twice makes a Frechet distance's sample smaller.
    """
    count = len(replicates)
    if count < 2:
        return None
    mean = statistics.fmean(replicates)
    squares = sum((r - mean) ** 2 for r in replicates)
    return math.sqrt((count - 1) / count * squares if resampling == JACKKNIFE else squares / (count - 1) / count)


@dataclass(frozen=True)
class Difference:
    """value = a - b, its standard error, and the degrees of freedom behind that error."""

    value: float
    error: float
    freedom: float

    @property
    def half_width(self) -> float:
        """Of the confidence interval."""
        return t_quantile((1 + CONFIDENCE) / 2, self.freedom) * self.error

    @property
    def distinguishable(self) -> bool:
        return abs(self.value) > self.half_width

    @property
    def p_value(self) -> float:
        """Two-sided."""
        if self.error == 0:
            return 0.0 if self.value else 1.0
        return 2 * t_probability(-abs(self.value) / self.error, self.freedom)


def paired(
    a: Sequence[tuple[float, Sequence[float]]], b: Sequence[tuple[float, Sequence[float]]], resampling: str
) -> Difference:
    """Between two sets of images made from the same noises and labels; each item is one sampling seed's (value, replicates).

    The same groups are left out on both sides, so that what the two share cancels. Raises ValueError where nothing pairs.
    """
    if not a or len(a) != len(b) or any(len(x[1]) != len(y[1]) or len(x[1]) < 2 for x, y in zip(a, b, strict=True)):
        raise ValueError("paired values need the same sampling seeds, and as many replicates on both sides")
    squares, freedom = 0.0, 0
    for (_, ours), (_, theirs) in zip(a, b, strict=True):
        error = standard_error([x - y for x, y in zip(ours, theirs, strict=True)], resampling)
        squares += (error or 0.0) ** 2
        freedom += len(ours) - 1
    value = statistics.fmean(x[0] - y[0] for x, y in zip(a, b, strict=True))
    return Difference(value, math.sqrt(squares) / len(a), freedom)


def welch(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Between the means of two independent sets of values, as of two methods' training seeds (Welch 1947).

    Raises ValueError below two values on a side.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"{len(a)} and {len(b)} values; a spread needs at least 2 on each side")
    parts = [_variance(tuple(values)) / len(values) for values in (a, b)]
    total = sum(parts)
    if total == 0:
        return Difference(statistics.fmean(a) - statistics.fmean(b), 0.0, len(a) + len(b) - 2)
    freedom = total**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True))
    return Difference(statistics.fmean(a) - statistics.fmean(b), math.sqrt(total), freedom)


@functools.lru_cache(maxsize=4096)
def _variance(values: tuple[float, ...]) -> float:
    """Exact, thus slow; a line of a table is compared with every other."""
    return statistics.variance(values)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, in the given order: below alpha, all of them err together with that rate
    (Holm 1979, step-down)."""
    found, largest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        found[i] = largest
    return found


def t_quantile(probability: float, freedom: float) -> float:
    """Of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def t_probability(value: float, freedom: float) -> float:
    """P(T <= value) of Student's t distribution."""
    from scipy.special import stdtr

    return float(stdtr(freedom, value))
