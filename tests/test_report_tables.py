"""Tables: means and spreads are right, nothing is mixed or dropped, and every form of a table keeps what it promises."""

import json
import math
import re
from typing import Any

import pytest

from bench.errors import BenchError
from reports import forms, tables
from reports.numbers import number, probability, unit_and_divisor, with_interval, with_spread
from reports.site.headline import quality_sentences
from result_rows import PROTOCOL, cell, described, failed, frame, row

# Numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.3456, "12.35"),
        (9.99996, "10.00"),
        (1234.5, "1,234"),
        (0.012345, "0.0123"),
        (3.0, "3"),
        (-0.5, "-0.5000"),
        (2e-6, "2e-06"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_spread_and_mean_have_equal_decimals() -> None:
    assert with_spread(12.345, 0.412) == "12.35 ± 0.41" or with_spread(12.345, 0.412) == "12.34 ± 0.41"
    assert with_spread(12.345, 3.21) == "12.3 ± 3.2"
    assert with_spread(1.5, 0.0) == "1.500 ± 0"
    assert with_spread(0.0134123, 4.4e-6) == "0.01341 ± <0.00001"  # not 0.00000
    assert with_spread(-0.001, 0.2) == "0.00 ± 0.20"  # no minus before nothing


def test_an_interval_has_equal_decimals() -> None:
    assert with_interval(0.31234, 0.0912) == ("0.312", "0.221", "0.404")
    assert with_interval(0.05, 0.11) == ("0.05", "-0.06", "0.16")
    assert (probability(0.0004), probability(0.01234)) == ("p < 0.001", "p = 0.012")


def test_units() -> None:
    assert unit_and_divisor("bytes", 5e8) == ("MiB", 2**20)
    assert unit_and_divisor("bytes resident", 5e8) == ("MiB resident", 2**20)
    assert unit_and_divisor("MAC/image", 2e7) == ("MMAC/image", 1e6)
    assert unit_and_divisor("", 1_284_752) == ("million", 1e6)
    assert unit_and_divisor("ms", 0.01) == ("ms", 1)
    assert unit_and_divisor("", 0.01) == ("", 1)
    assert unit_and_divisor("", 0.01, thousandths=True) == ("×10⁻³", 1e-3)


# Tables


def test_mean_and_spread_over_seeds_in_closed_form() -> None:
    [table] = tables.quality(frame(*(row(seed=seed, value=value) for seed, value in enumerate([1.0, 2.0, 6.0]))))
    found = cell(table, "soflow", "frechet_distance")
    assert (found.mean, found.spread, found.seeds) == (3.0, math.sqrt(7.0), 3)  # squares of -2, -1, 3 add to 14; over 2
    assert found.text == "3.0 ± 2.6"
    assert found.runs == tuple(f"digits-soflow-T-2-s{seed}-abc" for seed in range(3))


def test_sampling_seeds_count_as_one_training_seed() -> None:
    [table] = tables.quality(frame(*(row(value=v, sample_seed=i) for i, v in enumerate([1.0, 3.0])), row(seed=1, value=4.0)))
    assert cell(table, "soflow", "frechet_distance").values == (2.0, 4.0)


def test_protocols_and_lengths_never_share_a_table() -> None:
    given = [row(value=1.0), row("meanflow", value=2.0, protocol="other"), row("meanflow", value=3.0, epochs=10.0)]
    found = tables.quality(frame(*given))
    assert [(t.group["protocol"], t.group["epochs"], [li.name for li in t.lines]) for t in found] == [
        (PROTOCOL, 10.0, ["meanflow"]),
        (PROTOCOL, 240.0, ["soflow"]),
        ("other", 240.0, ["meanflow"]),
    ]
    assert not any(c.best for t in found for li in t.lines for c in li.cells)  # nothing to compare with


def test_devices_never_share_a_cost_table() -> None:
    given = [row(metric="latency_ms", steps=1), row("meanflow", metric="latency_ms", steps=1, device="another")]
    assert len(tables.cost(frame(*given))) == 2


def test_best_follows_the_direction_and_lines_are_ranked() -> None:
    given = [row(m, value=v) for m, v in (("soflow", 2.0), ("meanflow", 1.0))]
    given += [row(m, metric="class_accuracy", value=v) for m, v in (("soflow", 0.9), ("meanflow", 0.8))]
    [table] = tables.quality(frame(*given))
    assert [line.name for line in table.lines] == ["meanflow", "soflow"]
    assert cell(table, "meanflow", "frechet_distance").best
    assert not cell(table, "soflow", "frechet_distance").best
    assert cell(table, "soflow", "class_accuracy").best
    assert not cell(table, "meanflow", "class_accuracy").best
    assert [c.full_head for c in table.columns] == ["Fréchet distance ↓, 1 step", "class accuracy ↑, 1 step"]


def test_two_recipes_of_a_method_are_two_lines() -> None:
    given = [row(value=1.0), row(value=9.0, run="other")]
    own = given[0].run
    guided = {own: described(own, "soflow"), "other": described("other", "soflow", methods={"soflow": {"p": 0.5}})}
    [table] = tables.quality(frame(*given), guided)
    assert sorted(line.name for line in table.lines) == ["soflow (p=0.5)", "soflow (p=1.0)"]
    [blind] = tables.quality(frame(*given))  # settings unknown, same seed twice: still no mean of the two
    assert [line.cells[0].values for line in blind.lines] == [(1.0,), (9.0,)]


def test_unequal_training_is_said() -> None:
    given = [row(value=1.0), row("meanflow", value=2.0, images=5)]
    unequal = {
        given[1].run: described(given[1].run, "meanflow", train={"batch": 7}),
        given[0].run: described(given[0].run, "soflow"),
    }
    [table] = tables.quality(frame(*given), unequal)
    assert "Not equal: train.batch (meanflow 7; soflow 128)." in table.note
    assert "Not equal: images (meanflow 5; soflow 431,232)." in table.note


def test_failed_rows_stay_with_their_reason() -> None:
    given = [row(value=1.0), row(seed=1, value=2.0), failed("meanflow", 0), failed("soflow", 2), row("soflow", steps=64)]
    [table] = tables.quality(frame(*given))
    lost = cell(table, "meanflow", "frechet_distance")
    assert (lost.status, lost.text, lost.reason, lost.values) == ("failed", "failed", "the loss is not finite", ())
    assert [line.seeds_text for line in table.lines] == ["2 of 3", "0 of 1"]
    assert [(f.line, f.train_seed) for f in table.failures] == [("meanflow", 0), ("soflow", 2)]
    assert cell(table, "soflow", "frechet_distance", 64).text == "1 (1 of 2 seeds)"
    assert cell(table, "soflow", "frechet_distance").reason == "the loss is not finite"


def test_all_failed_is_a_table_too() -> None:
    [table] = tables.quality(frame(failed("meanflow", 0)))
    assert table.lines[0].cells[0].text == "failed"
    assert quality_sentences(table) == ["No method has a value yet."]


def test_skipped_and_missing_differ() -> None:
    given = [row("flow_matching", value=1.0, steps=64), row("flow_matching"), row("soflow")]
    given += [row("meanflow"), row("meanflow", value=None, steps=64, status="skipped", reason="not able to")]
    [table] = tables.quality(frame(*given))
    assert cell(table, "soflow", "frechet_distance", 64).text == "–"
    assert cell(table, "meanflow", "frechet_distance", 64).text == "skipped"


def test_a_failure_that_a_resume_got_past_is_gone() -> None:
    overtaken = row(metric="frechet_distance", value=None, steps=2, images=1000, status="failed")
    [table] = tables.quality(frame(failed("soflow", 0), overtaken, row(value=1.0), row(value=5.0, images=400)))
    assert not table.failures
    assert len(table.columns) == 1
    assert cell(table, "soflow", "frechet_distance").values == (1.0,)  # and the earlier snapshot is not averaged in


def test_a_value_that_is_not_finite_is_a_failure() -> None:
    [table] = tables.quality(frame(row(value=math.inf)))
    assert cell(table, "soflow", "frechet_distance").status == "failed"


def test_floor_is_in_the_note_of_its_protocol_only() -> None:
    given = [row(value=1.0), row(metric=tables.FLOOR, value=0.4123), row("meanflow", protocol="other")]
    first, second = tables.quality(frame(*given))
    assert "Real against real: 0.4123." in first.note
    assert "eal against real" not in second.note
    assert (first.floor, second.floor) == (0.4123, None)


def test_bytes_are_shown_in_mib() -> None:
    [table] = tables.cost(frame(row(metric="train_peak_bytes", value=3.5 * 2**20, unit="bytes")))
    assert table.columns[0].metric_text == "peak memory (MiB) ↓"
    assert table.title == "digits, T/2, 240 epochs, a processor"
    found = cell(table, "soflow", "train_peak_bytes", None)
    assert (found.text, found.mean) == ("3.500", 3.5 * 2**20)


# Names


def described_protocol(**conditions: object) -> dict[str, Any]:
    return {"a run": {"protocols": {PROTOCOL: conditions}}}


@pytest.mark.parametrize(
    ("samples", "head"), [(10_000, "FID-10K"), (50_000, "FID-50K"), (2500, "FID-2.5K"), (1797, "FID-1797")]
)
def test_fid_is_the_name_on_inception_alone(samples: int, head: str) -> None:
    given = [row(metric=metric, value=1.0) for metric in tables.QUALITY]
    [table] = tables.quality(frame(*given), described_protocol(extractor="inception", samples=samples))
    count = head.removeprefix("FID")
    assert [c.head for c in table.columns] == [
        head, "FID, n → ∞", f"sFID{count}", "KID", "KID of random subsets", f"IS{count}", f"IS{count} as ADM",
        "precision", "recall", "class accuracy",
    ]  # fmt: skip
    assert "ot FID" not in table.note
    [clean] = tables.quality(frame(row()), described_protocol(extractor="clean_fid", samples=samples))
    assert clean.columns[0].head == f"clean-{head}"


@pytest.mark.parametrize(
    ("conditions", "remark"),
    [
        ({"extractor": "digits"}, "Not FID: the features are those of digits."),
        ({"extractor": "lite0", "extractor_comparable": "not FID: another network"}, "Not FID: another network."),
        ({"extractor": "dinov2", "extractor_comparable": "FD-DINOv2, not FID"}, "FD-DINOv2, not FID."),
        ({"extractor": "inception", "extractor_comparable": "no: weights differ"}, "Not FID: weights differ."),
    ],
)
def test_another_extractor_is_no_fid_and_says_so(conditions: dict[str, str], remark: str) -> None:
    [table] = tables.quality(frame(row(), row(metric="frechet_distance_infinite")), described_protocol(**conditions))
    assert [c.head for c in table.columns] == ["Fréchet distance", "Fréchet distance, n → ∞"]
    assert remark in table.note


# Forms


def test_csv_and_json_keep_full_precision() -> None:
    values = (0.1 + 0.2, 1 / 3)
    [table] = tables.quality(frame(*(row(seed=seed, value=value) for seed, value in enumerate(values))))
    [record] = json.loads(forms.render(table, "json"))["cells"]
    assert record["mean"] == math.fsum(values) / 2
    assert record["values"] == list(values)
    assert record["spread"] == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2), rel=1e-12)
    heads, line = forms.render(table, "csv").splitlines()
    found = dict(zip(heads.split(","), line.split(","), strict=True))
    assert (float(found["mean"]), float(found["spread"]), found["seeds"]) == (record["mean"], record["spread"], "2")


def test_csv_and_json_keep_the_rows_own_unit() -> None:
    [table] = tables.cost(frame(row(metric="train_peak_bytes", value=3.5 * 2**20, unit="bytes")))
    [record] = json.loads(forms.render(table, "json"))["cells"]
    assert (record["mean"], record["unit"], record["steps"]) == (3.5 * 2**20, "bytes", None)


def test_latex_escapes_and_marks() -> None:
    [table] = tables.quality(frame(row("flow_matching", value=1.0), row("soflow", value=2.0), failed("a&b%#${x}~^\\", 0)))
    text = forms.render(table, "latex")
    assert r"flow\_matching & \textbf{1}" in text
    assert r"a\&b\%\#\$\{x\}\textasciitilde{}\textasciicircum{}\textbackslash{} & failed" in text
    assert re.search(r"(?<!\\)_", text) is None
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"$\downarrow$"):
        assert part in text


def test_markdown_escapes_bars() -> None:
    [table] = tables.quality(frame(row("a|b\n<i>", value=1.0), row("soflow", value=2.0)))
    lines = forms.render(table, "markdown").splitlines()
    assert r"| a\|b \<i\> | **1** | 1 |" in lines
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")}) == 1


def test_unknown_form() -> None:
    [table] = tables.quality(frame(row()))
    with pytest.raises(BenchError, match="did you mean 'latex'"):
        forms.render(table, "latx")


# Headline


def test_headline_says_by_how_much_and_whether_seeds_settle_it() -> None:
    def sentences(*values: tuple[float, float]) -> list[str]:
        given = [row(m, s, value=v) for m, vs in zip(("soflow", "meanflow"), values, strict=True) for s, v in enumerate(vs)]
        return quality_sentences(tables.quality(frame(*given))[0])

    settled = sentences((1.0, 1.2), (4.0, 4.2))
    assert "At 1 step, soflow is best" in settled[0]
    assert "(73 % lower)" in settled[0]
    assert settled[1].endswith("distinguishable over 2 and 2 training seeds.")
    open_question = sentences((1.0, 4.5), (4.0, 6.0))
    assert "At 1 step, soflow and meanflow are not distinguishable" in open_question[0]
    assert "not settled" in open_question[1]
    apart = sentences((1.0, 3.0), (4.0, 6.0))  # every seed ahead, as by chance in one of three such tables: p is 0.17
    assert "At 1 step, soflow and meanflow are not distinguishable" in apart[0]
    assert "not distinguishable over 2 and 2 training seeds" in apart[1]
    single = quality_sentences(tables.quality(frame(row(), row("meanflow", value=2.0)))[0])
    assert "soflow and meanflow have one training seed each" in single[1]
