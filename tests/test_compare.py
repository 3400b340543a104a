"""Verdicts: what training seeds do not settle is said to be open, networks are told apart on shared noise, and no more often
wrongly than promised."""

import itertools
import random
import statistics
from dataclasses import replace

import pytest
from scipy import stats

from bench import intervals, rows
from bench.intervals import Difference
from reports import compare, tables
from reports.site.headline import cost_sentences, quality_sentences
from reports.table import Table
from result_rows import cell, frame, made_up, row, scored

TABLES = 300


def table_of(given: list[rows.Row]) -> Table:
    [table] = tables.quality(frame(*given))
    return table


def by_line(given: list[rows.Row]) -> list[tuple[str, list[rows.Row]]]:
    return [(method, [r for r in given if r.method == method]) for method in dict.fromkeys(r.method for r in given)]


# The methods


def test_training_seeds_that_overlap_settle_nothing() -> None:
    values = {"soflow": (1.0, 2.0, 3.0), "meanflow": (2.5, 3.5, 4.0)}
    given = [row(m, s, value=v, sample_seed=0) for m, of in values.items() for s, v in enumerate(of)]
    table = table_of(given)
    [found] = table.against_best(0)
    expected = stats.ttest_ind(values["meanflow"], values["soflow"], equal_var=False)
    assert (found.question, found.verdict, found.settled) == ("methods", "not distinguishable", False)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(4 / 3)
    assert cell(table, "soflow", "frechet_distance").best
    assert cell(table, "meanflow", "frechet_distance").level
    assert "≈ not distinguishable from the best of its column, 95 %, over training seeds" in table.note
    sentences = quality_sentences(table)
    assert "soflow and meanflow are not distinguishable: Fréchet distance 2.0" in sentences[0]
    assert "not distinguishable over 3 and 3 training seeds, so the order is not settled" in sentences[1]


def test_training_seeds_far_apart_settle_it() -> None:
    values = {"soflow": (1.0, 1.1, 1.2), "meanflow": (2.0, 2.1, 2.2)}
    table = table_of([row(m, s, value=v, sample_seed=0) for m, of in values.items() for s, v in enumerate(of)])
    [found] = table.against_best(0)
    assert (found.verdict, found.settled) == ("distinguishable", True)
    assert not cell(table, "meanflow", "frechet_distance").level
    assert "≈" not in table.note
    sentences = quality_sentences(table)
    assert "At 1 step, soflow is best" in sentences[0]
    assert sentences[1].startswith("meanflow − soflow = 1.00 (95 % interval 0.77 to 1.23; p < 0.001): distinguishable")


def test_the_best_is_called_so_only_against_all() -> None:
    """The second is far off, the third by its mean scatters so widely that it may well be the best."""
    values = {"soflow": (1.0, 1.01, 1.02), "meanflow": (1.5, 1.51, 1.52), "flow_matching": (0.5, 2.0, 3.5)}
    table = table_of([row(m, s, value=v, sample_seed=0) for m, of in values.items() for s, v in enumerate(of)])
    sentences = quality_sentences(table)
    assert "soflow is ahead" in sentences[0]
    assert sentences[-1] == "Not settled against soflow: flow_matching."


def test_sampling_seeds_are_no_training_seeds() -> None:
    """Thirty sets of images of one network each: Welch's test must not take them for thirty trainings."""
    given = [row(m, value=v + k / 1e3, sample_seed=k) for m, v in (("soflow", 1.0), ("meanflow", 2.0)) for k in range(30)]
    [found] = table_of(given).against_best(0)
    assert found.methods is None
    assert found.verdict == "not settled: one training seed; these networks are distinguishable"


# The networks


def test_pairing_finds_what_two_separate_errors_would_miss() -> None:
    draw = random.Random(0)
    given = made_up({"soflow": 10.0, "meanflow": 10.3}, shared=5.0, own=0.1, draw=draw)
    [(_, ours), (_, theirs)] = by_line(given)
    [found] = compare.column([("meanflow", theirs), ("soflow", ours)])
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.3, abs=0.1)
    assert found.distinguishable
    errors = [statistics.fmean(r.standard_error or 0.0 for r in side) / 3**0.5 for side in (ours, theirs)]
    assert 1.96 * (errors[0] ** 2 + errors[1] ** 2) ** 0.5 / 2 > 0.3, "unpaired, it is less than half of the interval"
    assert found.difference.freedom == 27


def networks(ours: list[rows.Row], theirs: list[rows.Row]) -> tuple[tuple[int, Difference], ...]:
    """Of each training seed, what its two networks say of each other."""
    [found] = compare.column([("ours", ours), ("theirs", theirs)])
    return found.networks


def test_metrics_without_replicates_pair_by_sampling_seed() -> None:
    shared = (0.0, 5.0, -3.0)
    a = [row("soflow", value=1 + s + d, sample_seed=k) for k, (s, d) in enumerate(zip(shared, (0.0, 0.1, -0.1), strict=True))]
    b = [row("meanflow", value=2 + s, sample_seed=k) for k, s in enumerate(shared)]
    [(seed, found)] = networks(b, a)
    expected = stats.ttest_rel([r.value for r in b], [r.value for r in a])
    assert seed == 0
    assert (found.value, found.p_value) == pytest.approx((1.0, expected.pvalue), rel=1e-9)


def test_only_the_same_noises_of_the_same_training_seed_pair() -> None:
    draw = random.Random(0)
    a, b = (made_up({m: 1.0}, seeds=2, own=0.1, draw=draw) for m in ("soflow", "meanflow"))
    assert [seed for seed, _ in networks(a, b)] == [0, 1]
    assert [seed for seed, _ in networks(a, [r for r in b if r.train_seed == 1])] == [1]
    assert not networks(a, [replace(r, sample_seed=(r.sample_seed or 0) + 10) for r in b])
    assert not networks(a, [replace(r, n=1000) for r in b])
    two = [r for r in b if r.sample_seed != 1]
    assert {found.freedom for _, found in networks(a, two)} == {18}


def test_one_training_seed_leaves_the_methods_open() -> None:
    table = table_of(made_up({"soflow": 1.0, "meanflow": 3.0}, own=0.1, draw=random.Random(0)))
    assert not cell(table, "meanflow", "frechet_distance").level
    assert "of these networks, not of the methods" in table.note
    sentences = quality_sentences(table)
    assert "soflow is ahead" in sentences[0]
    assert "have one training seed each: how far seeds scatter is not known, so the order is not settled" in sentences[1]
    assert "These two networks, on the same noises and labels: meanflow − soflow = 1.958 (" in sentences[2]


def test_old_rows_say_that_nothing_is_known() -> None:
    table = table_of([row(value=1.0, sample_seed=0), row("meanflow", value=2.0, sample_seed=0)])
    [found] = table.against_best(0)
    assert (found.question, found.p_value, found.texts(), found.text()) == ("", None, None, "")
    assert cell(table, "soflow", "frechet_distance").best
    assert not cell(table, "meanflow", "frechet_distance").level
    assert "how sure the order is can not be told" in table.note


# Columns


def test_holm_over_all_pairs_of_a_column() -> None:
    given = made_up({"a": 1.0, "b": 1.4, "c": 1.6}, seeds=4, training=0.2, own=0.1, draw=random.Random(1))
    together = compare.column(by_line(given))
    alone = [pair for of_two in itertools.combinations(by_line(given), 2) for pair in compare.column(of_two)]
    assert [p.p_value for p in together] == pytest.approx(intervals.holm([p.p_value or 0.0 for p in alone]))
    assert len(together) == 3


@pytest.mark.parametrize(
    "spreads",
    [
        {"seeds": 2, "training": 0.3, "own": 0.2},
        {"seeds": 4, "training": 0.3, "own": 0.2},
        {"seeds": 1, "own": 0.5},
    ],
    ids=["2 training seeds", "4 training seeds", "networks"],
)
def test_equal_lines_are_rarely_called_different(spreads: dict[str, float]) -> None:
    """Three lines at one level: the best of them is told from another in at most 5 % of tables (0.08 is 2.4 deviations up)."""
    draw, wrong = random.Random(0), 0
    for _ in range(TABLES):
        given = made_up({"a": 5.0, "b": 5.0, "c": 5.0}, draw=draw, **spreads)  # type: ignore[arg-type]
        means = {name: statistics.fmean(r.value or 0.0 for r in of) for name, of in by_line(given)}
        best = min(means, key=means.__getitem__)
        wrong += any(pair.distinguishable for pair in compare.column(by_line(given)) if best in (pair.first, pair.second))
    assert wrong / TABLES <= 0.08


def test_a_real_gap_is_found() -> None:
    draw = random.Random(0)
    given = [made_up({"a": 5.0, "b": 6.5}, seeds=4, training=0.3, own=0.2, draw=draw) for _ in range(50)]
    assert sum(compare.column(by_line(of))[0].settled for of in given) >= 45


# What does not compare


@pytest.mark.parametrize(("field", "other"), [("protocol", "inception-n2000-x"), ("steps", 2), ("metric", "recall")])
def test_rows_that_do_not_compare_are_refused(field: str, other: object) -> None:
    ours, theirs = row(value=1.0), replace(row("meanflow", value=1.0), **{field: other})
    with pytest.raises(ValueError, match=rf"{field} '?{getattr(ours, field)}'? and '?{other}'? do not compare"):
        compare.column([("soflow", [ours]), ("meanflow", [theirs])])


def test_the_same_seen_from_the_other_side() -> None:
    draw = random.Random(0)
    [found] = compare.column(by_line(made_up({"a": 1.0, "b": 2.0}, seeds=2, training=0.1, own=0.1, draw=draw)))
    back = found.flipped
    assert (back.first, back.second, back.seeds) == ("b", "a", (2, 2))
    assert found.difference is not None
    assert back.difference is not None
    assert back.difference.value == -found.difference.value
    assert [-d.value for _, d in back.networks] == [d.value for _, d in found.networks]
    assert back.p_value == found.p_value


def test_speeds_are_judged_too() -> None:
    rate = {"soflow": (100.0, 104.0, 96.0), "meanflow": (99.0, 103.0, 97.0)}
    given = [row(m, s, "train_images_per_second", v, unit="images/s") for m, of in rate.items() for s, v in enumerate(of)]
    [table] = tables.cost(frame(*given))
    assert cost_sentences(table)[-1] == "The two are not distinguishable."
    assert cell(table, "meanflow", "train_images_per_second", None).level


def test_a_scored_row_is_its_own_closed_form() -> None:
    """The helper behind these tests: the replicates of a mean give s / sqrt(G)."""
    parts = [1.0, 2.0, 4.0, 8.0]
    made = scored("soflow", 0, 0, parts)
    assert made.value == statistics.fmean(parts)
    assert made.standard_error == pytest.approx(statistics.stdev(parts) / 2)
