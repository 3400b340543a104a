"""The regression gate's decisions: values of a few training seeds against a baseline of many. Pure arithmetic, no torch.

    verdicts = decide(baseline, measured, better)     # first 2 seeds a method, then, where suspects(verdicts), more
    verdicts += [nearness(...), ...]                  # of what must not move at all
    code = exit_code(verdicts, failures)

Two looks. The first asks with Student's t, generously, whether a few seeds look odd; it can not alarm. The last asks, with
enough seeds, whether nearly all of them lie beyond nearly all of the baseline's: the exact test of Mann and Whitney (1947).
It knows nothing but that seeds of an unchanged suite come in any order alike, so its false alarms are at most ALPHA whatever
the values' distribution: outliers and skew, of which short trainings have plenty, make Student's t alarm ten times too often.
"""

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtr, stdtrit

# Exit codes of `bench check`, beside those of bench/errors.py: 0 is held, 2 a baseline or profile that does not fit.
EXIT_REGRESSED = 1  # something is worse, has moved, or was not measured any more
EXIT_IMPROVED = 3  # nothing is worse and something better: the baseline is out of date
EXIT_NOTHING = 4  # nothing of the baseline was measured
EXIT_NOT_RUN = 5  # a run failed

ALPHA = 0.01  # of false alarms of either kind, regressed and improved, over all quantities of a check together
SUSPICION = 0.2  # of a first look at an unchanged suite that asks for more seeds
IN_ALL = 6  # seeds of the last look, at least
LEAST_CHANGE = 1e-3  # of the mean: nearer values are not told apart, else a spread of 0 would make any digit a change
LOGARITHMIC = ("frechet_distance", "velocity_mse", "jump_mse", "gradient_norm", "training_step_ratio")

Outcome = Literal["held", "regressed", "improved", "missing", "not judged"]
Sample = tuple[float, ...]  # a value a training seed


@dataclass(frozen=True, order=True)
class Quantity:
    """One thing that is watched."""

    method: str
    metric: str
    steps: int = 0  # network evaluations an image; 0 where it does not apply

    @property
    def label(self) -> str:
        return self.metric + (f", {self.steps} step{'s' * (self.steps > 1)}" if self.steps else "")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one quantity. Values are those that a person reads, also where logarithms were compared."""

    quantity: Quantity
    outcome: Outcome
    judged_by: str  # seeds | same weights | speed
    better: str = ""  # min | max | "" (neither: any move counts as regressed)
    expected: float = math.nan  # the baseline's mean (geometric where logarithms are compared)
    spread: float = math.nan  # standard deviation over the baseline's seeds; of the logarithm where that is compared
    found: float = math.nan
    low: float = math.nan  # from here ...
    high: float = math.nan  # ... to here it is as expected; beyond, more seeds are asked
    p: float = math.nan  # of the test that judges, two-sided, before the correction for many quantities
    seeds: tuple[int, int] = (0, 0)  # of the baseline, of the check
    reason: str = ""


# Quantities that differ from seed to seed


def decide(
    baseline: Mapping[Quantity, Sample],
    measured: Mapping[Quantity, Sample],
    better: Mapping[Quantity, str],
    *,
    family: int = 0,
    alpha: float = ALPHA,
    judged_by: str = "seeds",
) -> list[Verdict]:
    """A verdict for each quantity of the baseline, in its order, then those that the baseline does not know.

    Bonferroni over `family` quantities (0: those of this baseline), so that no threshold depends on what else was found.
    """
    share = 1 / max(1, family or len(baseline))
    verdicts = [
        compare(q, values, measured.get(q, ()), better.get(q, ""), alpha * share, SUSPICION * share, judged_by)
        for q, values in baseline.items()
    ]
    reason = "not in the baseline; --update adds it"
    return verdicts + [
        Verdict(
            quantity=q, outcome="not judged", judged_by=judged_by, better=better.get(q, ""), found=center(q, values),
            seeds=(0, len(values)), reason=reason,
        )
        for q, values in measured.items()
        if q not in baseline
    ]  # fmt: skip


def compare(
    quantity: Quantity, old: Sample, new: Sample, better: str, alpha: float, suspicion: float, judged_by: str = "seeds"
) -> Verdict:
    """Whether `new` are seeds like `old`; `alpha` and `suspicion` are of both sides of this one quantity."""
    log, k, j = is_logarithmic(quantity, old), len(old), len(new)
    x = [math.log(v) for v in old] if log else list(old)
    mean, least = statistics.fmean(x), LEAST_CHANGE if log else max(LEAST_CHANGE * abs(statistics.fmean(x)), 1e-12)
    spread = statistics.stdev(x)
    scale = max(spread, least) * math.sqrt(1 / k + 1 / max(1, j))
    reach = float(stdtrit(k - 1, 1 - (alpha if judged_by == "speed" else suspicion) / 2)) * scale
    low, high = (math.exp(v) if log else v for v in (mean - reach, mean + reach))
    expected = math.exp(mean) if log else mean

    def verdict(outcome: Outcome, found: float = math.nan, p: float = math.nan, reason: str = "") -> Verdict:
        return Verdict(
            quantity=quantity, outcome=outcome, judged_by=judged_by, better=better, low=low, high=high, found=found,
            expected=expected, spread=spread, p=p, seeds=(k, j), reason=reason,
        )  # fmt: skip

    if not new:
        return verdict("missing", reason="in the baseline, but not measured")
    bad = [v for v in new if not math.isfinite(v) or (log and v <= 0)]
    if bad:
        return verdict("regressed", center(quantity, new), 0.0, f"a value is {bad[0]}")
    y = [math.log(v) for v in new] if log else list(new)
    difference = statistics.fmean(y) - mean
    found = math.exp(statistics.fmean(y)) if log else statistics.fmean(y)
    if judged_by == "speed":
        p, reason = 2 * float(stdtr(k - 1, -abs(difference / scale))), ""
    else:
        contrary = sum(b >= a if difference > 0 else b <= a for a in y for b in x)
        p = 2 * order_probability(j, k, contrary)
        reason = f"of {j * k} pairs of a new and an old seed, {contrary} contradict"
    if p > alpha or abs(difference) < least:
        return verdict("held", found, p)
    improved = better == ("min" if difference < 0 else "max")
    return verdict("improved" if improved else "regressed", found, p, reason)


@functools.cache
def orders(j: int, k: int, contrary: int) -> int:
    """Orders of j new and k old seeds in which exactly so many pairs contradict that the new ones are larger.

    Mann and Whitney's recursion, over which seed is the largest: an old one contradicts all j.
    """
    if contrary < 0 or contrary > j * k:
        return 0
    if j == 0 or k == 0:
        return int(contrary == 0)
    return orders(j - 1, k, contrary) + orders(j, k - 1, contrary - j)


def order_probability(j: int, k: int, contrary: int) -> float:
    """Of at most so many contradictions on one given side, where all orders are as likely; at most 1/2."""
    return min(0.5, sum(orders(j, k, u) for u in range(contrary + 1)) / math.comb(j + k, j))


def seeds_needed(k: int, quantities: int, alpha: float = ALPHA) -> int:
    """Seeds of the last look: IN_ALL, or as many more as k of the baseline need so that a change can be found at all."""
    j = IN_ALL
    while 2 * order_probability(j, k, 1) * max(1, quantities) > alpha:
        j += 1
    return j


def is_logarithmic(quantity: Quantity, values: Sequence[float]) -> bool:
    """Distances and squares scatter in proportion to their size: their logarithms are nearer to normal."""
    return quantity.metric in LOGARITHMIC and min(values) > 0


def center(quantity: Quantity, values: Sequence[float]) -> float:
    """The mean, geometric where logarithms are compared; NaN where a value is not finite or there is none."""
    if not values or not all(math.isfinite(v) for v in values):
        return math.nan
    return statistics.geometric_mean(values) if is_logarithmic(quantity, values) else statistics.fmean(values)


def suspects(verdicts: Sequence[Verdict]) -> list[str]:
    """Methods of which a few seeds look odd: more are to be trained before anything is said."""
    odd = [v for v in verdicts if v.judged_by == "seeds" and v.outcome == "held" and not v.low <= v.found <= v.high]
    return list(dict.fromkeys(v.quantity.method for v in odd))


# Quantities that must not move at all


def nearness(quantity: Quantity, expected: float, found: float, tolerance: float, reason: str) -> Verdict:
    """Held within `tolerance` of what was noted with the baseline, else regressed for `reason`."""
    held = abs(found - expected) <= tolerance  # not so where it is not finite
    return Verdict(
        quantity=quantity, outcome="held" if held else "regressed", judged_by="same weights", expected=expected,
        found=found, low=expected - tolerance, high=expected + tolerance, reason="" if held else reason,
    )  # fmt: skip


# The outcome


def exit_code(verdicts: Sequence[Verdict], failures: Sequence[str]) -> int:
    """0 held, else the first that applies: regressed or missing, a run failed, nothing measured, improved."""
    outcomes = {v.outcome for v in verdicts}
    measured = outcomes & {"held", "regressed", "improved"}
    if "regressed" in outcomes:
        return EXIT_REGRESSED
    if failures:
        return EXIT_NOT_RUN
    if not measured:
        return EXIT_NOTHING
    if "missing" in outcomes:
        return EXIT_REGRESSED
    return EXIT_IMPROVED if "improved" in outcomes else 0


MEANING = {
    0: "held",
    EXIT_REGRESSED: "regressed",
    EXIT_IMPROVED: "improved: write a new baseline with `bench check --update`",
    EXIT_NOTHING: "nothing measured",
    EXIT_NOT_RUN: "could not run",
}
