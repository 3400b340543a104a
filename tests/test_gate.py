"""The gate's decisions on synthetic numbers: directions, thresholds, exit codes, false alarms, power."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from bench.gate import judgement
from bench.gate.judgement import Quantity, Verdict

FD, ACCURACY = Quantity("soflow", "frechet_distance", 1), Quantity("soflow", "class_accuracy", 1)
MSE, KID = Quantity("soflow", "velocity_mse"), Quantity("meanflow", "kernel_distance", 2)
BETTER = {FD: "min", ACCURACY: "max", MSE: "", KID: "min"}


def draws(mean: float, spread: float, k: int, seed: int = 0) -> tuple[float, ...]:
    return tuple(np.random.default_rng(seed).normal(mean, spread, k))


K, J = 24, 6  # seeds of the baseline and of a last look
VALUES = {
    FD: draws(10, 0.5, K),
    ACCURACY: draws(0.9, 0.01, K, 1),
    MSE: draws(0.5, 0.005, K, 2),
    KID: draws(0.1, 0.02, K, 3),
}


def moved(quantity: Quantity, spreads: float, j: int = J) -> dict[Quantity, tuple[float, ...]]:
    """A few seeds of each quantity in the middle of the baseline, but for one, moved by this many of its spreads."""
    found = {q: (judgement.center(q, v),) * j for q, v in VALUES.items()}
    found[quantity] = tuple(v + spreads * float(np.std(VALUES[quantity], ddof=1)) for v in found[quantity])
    return found


def code(verdicts: list[Verdict], *failures: str) -> int:
    return judgement.exit_code(verdicts, failures)


def outcome(verdicts: list[Verdict], quantity: Quantity) -> str:
    return next(v.outcome for v in verdicts if v.quantity == quantity)


# Decisions


@pytest.mark.parametrize(
    ("quantity", "spreads", "expected"),
    [
        (FD, 0, "held"), (FD, 5, "regressed"), (FD, -5, "improved"),
        (ACCURACY, -5, "regressed"), (ACCURACY, 5, "improved"),
        (MSE, 5, "regressed"), (MSE, -5, "regressed"),  # has no better side
        (KID, 5, "regressed"), (KID, -5, "improved"), (KID, 0.5, "held"),
    ],
)  # fmt: skip
def test_each_metric_is_judged_in_its_own_direction(quantity: Quantity, spreads: float, expected: str) -> None:
    verdicts = judgement.decide(VALUES, moved(quantity, spreads), BETTER)
    assert outcome(verdicts, quantity) == expected
    assert {v.outcome for v in verdicts if v.quantity != quantity} == {"held"}
    assert code(verdicts) == {"held": 0, "regressed": judgement.EXIT_REGRESSED, "improved": judgement.EXIT_IMPROVED}[expected]


def test_the_interval_is_students_prediction_interval() -> None:
    """Against scipy.stats, written out for one metric that is compared as it is, and one as its logarithm."""
    for quantity, transform, back in ((KID, np.asarray, float), (FD, np.log, math.exp)):
        x = transform(VALUES[quantity])
        verdict = next(v for v in judgement.decide(VALUES, moved(quantity, 1, 2), BETTER) if v.quantity == quantity)
        reach = stats.t(K - 1).ppf(1 - 0.2 / (2 * 4)) * x.std(ddof=1) * math.sqrt(1 / K + 1 / 2)
        assert verdict.low == pytest.approx(back(x.mean() - reach))
        assert verdict.high == pytest.approx(back(x.mean() + reach))
        assert verdict.expected == pytest.approx(back(x.mean()))


@pytest.mark.parametrize("shift", [-3.0, -1.0, 0.0, 0.7, 2.5])
def test_the_test_that_judges_is_mann_and_whitneys(shift: float) -> None:
    old, new = draws(5, 1, K, 11), draws(5 + shift, 1, J, 12)
    verdict = judgement.compare(KID, old, new, "min", 0.01, 0.2)
    assert verdict.p == pytest.approx(stats.mannwhitneyu(new, old, method="exact").pvalue, rel=1e-9)
    assert (verdict.outcome == "held") == (verdict.p > 0.01)


def test_ties_speak_against_a_change() -> None:
    """A share of correct classes takes few values: six seeds equal to the baseline's best are not better than it."""
    old = (0.98,) * 12 + (0.99,) * 12
    assert judgement.compare(ACCURACY, old, (0.99,) * 6, "max", 0.01, 0.2).outcome == "held"
    assert judgement.compare(ACCURACY, old, (0.995,) * 6, "max", 0.01, 0.2).outcome == "improved"


def test_one_odd_seed_is_no_regression_and_nearly_all_are() -> None:
    middle, far = 0.1, 1.0
    for odd, expected in ((1, "held"), (3, "held"), (6, "regressed")):
        new = (far,) * odd + (middle,) * (J - odd)
        assert outcome(judgement.decide(VALUES, moved(KID, 0) | {KID: new}, BETTER), KID) == expected


def test_two_seeds_alone_never_alarm_and_make_suspicious() -> None:
    verdicts = judgement.decide(VALUES, moved(KID, 50, 2), BETTER)
    assert outcome(verdicts, KID) == "held"
    assert judgement.suspects(verdicts) == ["meanflow"]
    assert judgement.suspects(judgement.decide(VALUES, moved(KID, 0.5, 2), BETTER)) == []


@pytest.mark.parametrize(("k", "quantities"), [(5, 4), (5, 40), (8, 40), (16, 40), (24, 40), (40, 100)])
def test_the_seeds_needed_suffice_to_find_a_change(k: int, quantities: int) -> None:
    j = judgement.seeds_needed(k, quantities)
    assert j >= judgement.IN_ALL
    old, new = draws(1, 0.01, k), draws(9, 0.01, j)
    assert judgement.compare(KID, old, new, "min", judgement.ALPHA / quantities, 0.2).outcome == "regressed"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_a_value_that_can_not_be_is_a_regression(bad: float) -> None:
    verdicts = judgement.decide(VALUES, moved(FD, 0) | {FD: (10.0, bad)}, BETTER)
    assert outcome(verdicts, FD) == "regressed"
    assert str(bad) in next(v.reason for v in verdicts if v.quantity == FD)


def test_what_is_missing_is_red_and_nothing_at_all_has_a_code_of_its_own() -> None:
    found = moved(FD, 0)
    del found[ACCURACY]
    verdicts = judgement.decide(VALUES, found, BETTER)
    assert outcome(verdicts, ACCURACY) == "missing"
    assert code(verdicts) == judgement.EXIT_REGRESSED
    assert code(judgement.decide(VALUES, {}, BETTER)) == judgement.EXIT_NOTHING
    assert code([]) == judgement.EXIT_NOTHING
    assert code(judgement.decide({}, {FD: (1.0,)}, BETTER)) == judgement.EXIT_NOTHING, "not in the baseline: not compared"


def test_what_the_baseline_does_not_know_is_shown_and_not_judged() -> None:
    new = Quantity("another", "frechet_distance", 1)
    verdicts = judgement.decide(VALUES, moved(FD, 0) | {new: (1.0, 4.0)}, BETTER)
    assert outcome(verdicts, new) == "not judged"
    assert verdicts[-1].found == pytest.approx(2.0)
    assert code(verdicts) == 0


def test_the_worst_outcome_wins() -> None:
    """Regressed, could not run, nothing measured, missing, improved, held: in this order."""
    worse, better_now = judgement.decide(VALUES, moved(FD, 9), BETTER), judgement.decide(VALUES, moved(FD, -9), BETTER)
    held = judgement.decide(VALUES, moved(FD, 0), BETTER)
    assert code(worse + better_now, "a run failed") == judgement.EXIT_REGRESSED
    assert code(better_now, "a run failed") == judgement.EXIT_NOT_RUN
    assert code(judgement.decide(VALUES, {}, BETTER), "a run failed") == judgement.EXIT_NOT_RUN
    assert code(held + better_now) == judgement.EXIT_IMPROVED
    assert code(held) == 0
    assert len({0, judgement.EXIT_REGRESSED, judgement.EXIT_IMPROVED, judgement.EXIT_NOTHING, judgement.EXIT_NOT_RUN, 2}) == 6


def test_a_baseline_without_spread_does_not_make_every_digit_a_change() -> None:
    flat = {ACCURACY: (1.0,) * 8}
    assert outcome(judgement.decide(flat, {ACCURACY: (1.0 - 1e-4,) * J}, BETTER), ACCURACY) == "held"
    assert outcome(judgement.decide(flat, {ACCURACY: (0.95,) * J}, BETTER), ACCURACY) == "regressed"


# False alarms


def alarms(draw: Callable[[int], np.ndarray], checks: int, first: int = 2) -> float:
    """The share of checks of an unchanged suite that alarm: `draw` gives (n, quantities) of n seeds."""
    quantities = [Quantity(f"method {i % 3}", "kernel_distance", i) for i in range(draw(1).shape[1])]

    def sample(rows: np.ndarray) -> dict[Quantity, tuple[float, ...]]:
        return {q: tuple(column) for q, column in zip(quantities, rows.T.tolist(), strict=True)}

    found = 0
    for _ in range(checks):
        baseline, new = sample(100 + draw(K)), 100 + draw(J)
        verdicts = judgement.decide(baseline, sample(new[:first]), {})
        if judgement.suspects(verdicts):
            verdicts = judgement.decide(baseline, sample(new), {})
        found += judgement.exit_code(verdicts, ()) != 0
    return found / checks


@pytest.mark.parametrize("kind", ["normal", "correlated", "heavy tails", "skewed"])
def test_at_most_one_false_alarm_in_a_hundred_null_checks(kind: str) -> None:
    """20 quantities, 600 checks of each kind. The binomial's 0.999 quantile for 600 trials at 1 % is 14."""
    rng = np.random.default_rng(7)

    def draw(n: int) -> np.ndarray:
        if kind == "heavy tails":
            return rng.standard_t(3, (n, 20))
        if kind == "skewed":
            return rng.exponential(size=(n, 20))
        own = rng.normal(size=(n, 20))
        return 0.3 * own + rng.normal(size=(n, 1)) if kind == "correlated" else own

    assert alarms(draw, 600) <= 14 / 600


def test_the_null_test_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that lets every third pair contradict alarms far too often."""
    rng = np.random.default_rng(7)
    monkeypatch.setattr(judgement, "order_probability", lambda j, k, contrary: 0.0 if contrary < j * k / 3 else 0.5)
    assert alarms(lambda n: rng.normal(size=(n, 20)), 100) > 0.03


def test_a_change_of_four_spreads_is_found() -> None:
    """In one of 20 quantities: 19 times in 20. Of three spreads: three times in four."""
    rng = np.random.default_rng(3)
    for spreads, least in ((4.0, 0.95), (3.0, 0.75)):

        def draw(n: int, spreads: float = spreads) -> np.ndarray:
            values = rng.normal(size=(n, 20))
            values[:, 0] += spreads if n == J else 0.0  # only the check's seeds
            return values

        assert alarms(draw, 200) >= least


# The same weights


def test_what_must_not_move_is_held_within_its_tolerance_on_both_sides() -> None:
    for found, expected in (
        (1.0, "held"),
        (1.0019, "held"),
        (1.0021, "regressed"),
        (0.9979, "regressed"),
        (math.nan, "regressed"),
    ):
        verdict = judgement.nearness(FD, 1.0, found, 2e-3, "the extractor")
        assert verdict.outcome == expected
        assert verdict.reason == ("" if expected == "held" else "the extractor")
