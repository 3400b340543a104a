"""Whether two lines of a table differ, judged from rows alone, as two questions that are kept apart.

The methods: training seeds are independent draws, so Welch's t test over one value a training seed; two on each side at least.
The networks: two trained networks on the same noises and labels, where what the images share cancels. It says nothing of
other training seeds.

    for found in column([("soflow", rows), ("meanflow", other_rows)]): print(found.text(), found.verdict)
"""

import dataclasses
import functools
import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import intervals
from bench.intervals import Difference
from bench.rows import Row
from reports.lines import grouped
from reports.numbers import probability, with_interval

METHODS, NETWORKS = "methods", "networks"
ALPHA = 1 - intervals.CONFIDENCE
SHARED = ("protocol", "metric", "steps")  # what two values have to share to be compared


@dataclass(frozen=True)
class Comparison:
    """`first` beside `second`; differences are first - second, in the unit of the rows."""

    first: str
    second: str
    seeds: tuple[int, int]  # training seeds of each
    methods: Difference | None  # over training seeds; None where a side has fewer than two
    sides: "tuple[_Side, _Side]" = dataclasses.field(repr=False, compare=False)
    p_value: float | None = None  # of `difference`, Holm-corrected for the comparisons of its column

    @functools.cached_property
    def networks(self) -> tuple[tuple[int, Difference], ...]:
        """(training seed, on the same noises and labels); those that pair. Where training seeds answer, nobody asks for it."""
        return _networks(*self.sides)

    @property
    def question(self) -> str:
        """The strongest that the rows answer: methods | networks | ""."""
        return METHODS if self.methods else NETWORKS if self.networks else ""

    @property
    def difference(self) -> Difference | None:
        """Of that question."""
        return self.methods or (self.networks[0][1] if self.networks else None)

    @property
    def distinguishable(self) -> bool:
        return self.p_value is not None and self.p_value < ALPHA

    @property
    def undecided(self) -> bool:
        """It was asked, and the two are not distinguishable."""
        return self.p_value is not None and not self.distinguishable

    @property
    def settled(self) -> bool:
        """The order of the methods, and not of two networks only."""
        return self.question == METHODS and self.distinguishable

    @property
    def verdict(self) -> str:
        words = "distinguishable" if self.distinguishable else "not distinguishable"
        if self.question == METHODS:
            return words
        return "not settled: one training seed" + (f"; these networks are {words}" if self.networks else "")

    @property
    def flipped(self) -> "Comparison":
        """The same seen from the other side."""
        return dataclasses.replace(
            self,
            first=self.second,
            second=self.first,
            seeds=self.seeds[::-1],
            methods=_negative(self.methods) if self.methods else None,
            sides=self.sides[::-1],
        )

    def texts(self, divisor: float = 1.0) -> tuple[str, str, str, str] | None:
        """The difference, both ends of its 95 % interval, and p; None where the rows answer neither question."""
        if self.difference is None or self.p_value is None:
            return None
        value, low, high = with_interval(self.difference.value / divisor, self.difference.half_width / divisor)
        return value, low, high, probability(self.p_value)

    def text(self, divisor: float = 1.0, unit: str = "") -> str:
        """ "a - b = 0.31 (95 % interval 0.22 to 0.40; p = 0.002)"; "" where the rows answer neither question."""
        if (found := self.texts(divisor)) is None:
            return ""
        value, low, high, p = found
        return f"{self.first} − {self.second} = {' '.join(filter(None, [value, unit]))} (95 % interval {low} to {high}; {p})"


def _negative(difference: Difference) -> Difference:
    return dataclasses.replace(difference, value=-difference.value)


# Comparing


def column(lines: Sequence[tuple[str, Sequence[Row]]]) -> list[Comparison]:
    """All pairs of lines that have rows. Each line's rows are of one protocol, metric and step count, all with a value.
    Raises ValueError for rows that do not compare.

    Holm's correction is over all pairs, also for a reader who looks at the best line only: which one that is the values
    decide, so any pair could have been the one that is read.
    """
    filled = [_side(name, rows) for name, rows in lines if rows]
    _check([row for _, rows in lines for row in rows])
    pairs = [_compared(one, other) for one, other in itertools.combinations(filled, 2)]
    asked = [i for i, pair in enumerate(pairs) if pair.difference]
    p_values = intervals.holm([found.p_value for i in asked if (found := pairs[i].difference)])
    for i, p_value in zip(asked, p_values, strict=True):
        pairs[i] = dataclasses.replace(pairs[i], p_value=p_value)
    return pairs


@dataclass(frozen=True)
class _Side:
    """A line as its comparisons need it, made once for all of them."""

    name: str
    means: tuple[float, ...]  # one a training seed
    networks: Mapping[int, Mapping[tuple[int, int | None], Row]]  # by training seed: rows by noise


def _side(name: str, rows: Sequence[Row]) -> _Side:
    networks = {seed: _by_noise(of_seed) for (seed,), of_seed in grouped(rows, ["train_seed"]).items()}
    return _Side(name, tuple(_training_means(rows).values()), networks)


def _check(rows: Sequence[Row]) -> None:
    """Raises ValueError for rows that do not compare."""
    for field in SHARED:
        found = dict.fromkeys(getattr(row, field) for row in rows)
        if len(found) > 1:
            raise ValueError(f"rows of {field} {' and '.join(map(repr, found))} do not compare")


def _compared(a: _Side, b: _Side) -> Comparison:
    """Without its p-value."""
    over_seeds = intervals.welch(a.means, b.means) if min(len(a.means), len(b.means)) > 1 else None
    return Comparison(a.name, b.name, (len(a.means), len(b.means)), over_seeds, (a, b))


def _training_means(rows: Sequence[Row]) -> dict[int, float]:
    """By training seed: the mean over its sampling seeds."""
    return {
        seed: statistics.fmean(row.value for row in of_seed if row.value is not None)
        for (seed,), of_seed in grouped(rows, ["train_seed"]).items()
    }


def _networks(a: _Side, b: _Side) -> tuple[tuple[int, Difference], ...]:
    """Of each training seed that both have, the difference on the same noises and labels; left out where nothing pairs."""
    found = ((seed, _paired(a.networks[seed], b.networks[seed])) for seed in sorted(a.networks.keys() & b.networks.keys()))
    return tuple((seed, difference) for seed, difference in found if difference)


def _by_noise(rows: Sequence[Row]) -> dict[tuple[int, int | None], Row]:
    """Equal keys: the same noises and labels, as many of them."""
    return {(row.sample_seed, row.n): row for row in rows if row.sample_seed is not None}


def _paired(ours: Mapping[tuple[int, int | None], Row], theirs: Mapping[tuple[int, int | None], Row]) -> Difference | None:
    pairs = [(ours[key], theirs[key]) for key in ours if key in theirs]
    if not pairs:
        return None
    kinds = {row.resampling for pair in pairs for row in pair}
    if len(kinds) == 1 and all(len(x.replicates) == len(y.replicates) > 1 for x, y in pairs):
        sides = [[(row.value or 0.0, row.replicates) for row in side] for side in zip(*pairs, strict=True)]
        return intervals.paired(sides[0], sides[1], kinds.pop())
    if len(pairs) < 2:
        return None
    # Metrics without replicates: the sampling seeds themselves are the blocks.
    values = [[row.value or 0.0 for row in side] for side in zip(*pairs, strict=True)]
    whole = [[(statistics.fmean(side), side)] for side in values]
    return intervals.paired(whole[0], whole[1], intervals.BLOCKS)
