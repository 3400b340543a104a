"""The gate's baseline file and its forms: read as written, refused where they do not fit, safe for any name."""

import json
import math
import random
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.gate import baselines, forms, judgement
from bench.gate.baselines import Baseline, Conditions, Noted, Speeds
from bench.gate.forms import Report
from bench.gate.judgement import Quantity, Verdict
from test_gate import BETTER, FD, KID, MSE, VALUES, J, K, moved

HOSTILE = '<script>alert("x")</script>|a*b_c`d`[e](f)#\x00\x1b\n& é'


# The baseline's file


def baseline(**changes: Any) -> Baseline:
    fields: dict[str, Any] = {
        "conditions": Conditions(profile="aaaa", protocol="digits-n2000-random-1a2b3c", images=1000, data="dddd"),
        "seeds": tuple(range(K)),
        "values": VALUES,
        "better": BETTER,
        "anchors": {"soflow": Noted(digest="abcd", values={"features": 1.25})},
        "provenance": {"commit": "0123456789abcdef", "dirty": True, "versions": {"torch": "2.15"}, "processor": "cpu"},
        "speeds": Speeds(processor="cpu", ratios={"soflow": (1.0, 1.1, 1.2, 1.1, 1.0)}),
    }
    return Baseline(**(fields | changes))


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    baselines.write(path, baseline())
    again = baselines.read(path)
    for quantity, values in VALUES.items():
        assert again.values[quantity] == pytest.approx(values, rel=1e-8)
    assert replace(again, values=VALUES) == baseline()
    baselines.write(path, again)
    assert baselines.read(path) == again, "to the same bits from then on"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema 2"),
        ({"schema": None}, "schema None"),
        ({"seeds": [0, 1, 2, 3]}, "not one value a seed"),
        ({"quantities": [{"method": "soflow"}]}, "metric"),
        ({"quantities": 7}, "lacks or spoils"),
        ({"conditions": {"profile": "x"}}, "lacks or spoils"),
        ({"provenance": None}, "lacks or spoils"),
    ],
)
def test_a_baseline_of_another_form_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "baseline.json"
    baselines.write(path, baseline())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BenchError) as caught:
        baselines.read(path)
    assert said in caught.value.given
    assert "--update" in caught.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": 1}', "\x00"])
def test_a_damaged_baseline_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(BenchError):
        baselines.read(path)
    with pytest.raises(BenchError, match="There is no baseline"):
        baselines.read(tmp_path / "none.json")


def test_a_baseline_with_nan_or_of_too_few_seeds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    baselines.write(path, baseline())
    raw = json.loads(path.read_text())
    raw["quantities"][0]["values"][3] = math.nan
    path.write_text(json.dumps(raw))
    with pytest.raises(BenchError, match="no finite number"):
        baselines.read(path)
    baselines.write(path, baseline(seeds=(0, 1, 2, 3), values={q: v[:4] for q, v in VALUES.items()}))
    with pytest.raises(BenchError, match="4 training seeds"):
        baselines.read(path)


@pytest.mark.parametrize("field", ["profile", "protocol", "images", "data"])
def test_a_check_under_other_conditions_is_refused(field: str) -> None:
    made = baseline()
    made.require(made.conditions, Path("ci-baseline.json"))
    other = replace(made.conditions, **{field: 7 if field == "images" else "other"})
    with pytest.raises(BenchError) as caught:
        made.require(other, Path("ci-baseline.json"))
    assert str(getattr(made.conditions, field)) in caught.value.given
    assert str(getattr(other, field)) in caught.value.allowed
    assert "--update" in caught.value.remedy


def test_a_baseline_that_can_not_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "baseline.json"
    baselines.write(path, baseline())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        baselines.write(path, baseline(anchors={"soflow": Noted(digest="a", values={"features": math.nan})}))
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(5, "broken")))
    with pytest.raises(BenchError):
        baselines.write(path, baseline(seeds=(*range(K - 1), 99)))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["baseline.json"]


# The forms


def report(*verdicts: Verdict, **more: Any) -> Report:
    return Report(verdicts=verdicts, **({"seconds": 12.3, "baseline": baseline().provenance, "check": {}} | more))


def everything() -> Report:
    """Every outcome and every judge."""
    found = moved(FD, 9)
    del found[MSE]
    verdicts = judgement.decide(VALUES, found | {Quantity("new", "recall", 2): (0.5,)}, BETTER)
    verdicts += judgement.decide({KID: VALUES[KID]}, moved(KID, -9), BETTER)[:1]
    verdicts.append(judgement.nearness(Quantity("soflow", "features"), 1.0, 1.5, 1e-3, "the extractor"))
    speed = judgement.decide({Quantity("soflow", "training_step_ratio"): (1.0, 1.1, 0.9, 1.0, 1.05)}, {}, {}, judged_by="speed")
    return report(*verdicts, *speed, failures=("meanflow, seed 0: not finite",), notes=("0 of 2 the same",))


def cells(line: str) -> list[str]:
    """Of a row of a markdown table; a bar after a backslash is text."""
    return [cell.strip() for cell in line.replace("\\|", "\x01").strip().strip("|").split("|")]


def test_the_summary_is_tables_of_equal_width_with_what_matters_first() -> None:
    text = forms.markdown(everything())
    assert text.startswith("## bench check: regressed")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(cells(line)) for line in lines}) == 1
    assert text.count("<details>") == text.count("</details>") >= 1
    order = [text.index(word) for word in ("regressed", "missing", "improved", "not judged")]
    assert order[0] < min(order[1:])
    for word in ("meanflow, seed 0", "0 of 2 the same", "--update", "0123456789ab", "1 %"):
        assert word in text


def test_junit_fails_exactly_where_the_exit_code_is_not_zero() -> None:
    suite = ElementTree.fromstring(forms.junit(everything())).find("testsuite")
    assert suite is not None
    assert len(suite) == int(suite.attrib["tests"]) == len(everything().verdicts) + 1
    assert len(suite.findall("testcase/failure")) == int(suite.attrib["failures"]) > 3
    assert len(suite.findall("testcase/error")) == int(suite.attrib["errors"]) == 1
    assert len(suite.findall("testcase/skipped")) == int(suite.attrib["skipped"]) == 1
    names = [(case.attrib["classname"], case.attrib["name"]) for case in suite]
    assert len(set(names)) == len(names) - 1, "the one quantity that is there twice"
    for given in (
        report(),
        report(*judgement.decide(VALUES, {}, BETTER)),
        report(*judgement.decide(VALUES, moved(FD, -9), BETTER)),
    ):
        suite = ElementTree.fromstring(forms.junit(given)).find("testsuite")
        assert suite is not None
        assert given.code != 0
        assert int(suite.attrib["failures"]) + int(suite.attrib["errors"]) > 0
        assert (int(suite.attrib["errors"]) == 1) == (given.code == judgement.EXIT_NOTHING)
    good = ElementTree.fromstring(forms.junit(report(*judgement.decide(VALUES, moved(FD, 0), BETTER)))).find("testsuite")
    assert good is not None
    assert good.attrib["failures"] == good.attrib["errors"] == "0"


def test_json_says_everything_in_plain_numbers() -> None:
    raw = json.loads(forms.as_json(everything()), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert raw["exit_code"] == everything().code == judgement.EXIT_REGRESSED
    assert len(raw["verdicts"]) == len(everything().verdicts)
    first = next(v for v in raw["verdicts"] if v["metric"] == "frechet_distance")
    assert (first["method"], first["steps"], first["outcome"], first["seeds"]) == ("soflow", 1, "regressed", J)
    assert raw["failures"] == ["meanflow, seed 0: not finite"]


def test_hostile_names_are_text_in_every_form() -> None:
    hostile = Quantity(HOSTILE, HOSTILE, 1)
    verdict = judgement.nearness(hostile, 1.0, 2.0, 0.1, HOSTILE)
    given = report(verdict, failures=(HOSTILE,), notes=(HOSTILE,), baseline={"commit": HOSTILE, "processor": HOSTILE})
    page = forms.markdown(given)
    assert "<script" not in page
    assert "](f)" not in page.replace("\\](f)", "")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len({len(cells(row)) for row in rows}) == 1, "a bar or a line break in a name ends no cell"
    suite = ElementTree.fromstring(forms.junit(given)).find("testsuite")
    assert suite is not None
    assert "<script>" in suite[0].attrib["name"]
    assert json.loads(forms.as_json(given))["verdicts"][0]["method"] == HOSTILE
    assert "2, expected 0.9 to 1.1" in forms.text(given)


def test_the_terminal_says_what_did_not_hold_and_why() -> None:
    lines = forms.text(everything()).splitlines()
    assert lines[-1].startswith("bench check: regressed (")
    assert any("soflow, frechet_distance, 1 step: 1" in line and "expected 9." in line for line in lines)
    assert any("the extractor" in line for line in lines)
    held = forms.text(report(*judgement.decide(VALUES, moved(FD, 0), BETTER)))
    assert held == "bench check: held (4 held; 12 s)"


def test_the_order_of_verdicts_is_no_accident() -> None:
    """Sorted by what matters, whatever order they come in."""
    verdicts = list(everything().verdicts)
    random.Random(0).shuffle(verdicts)
    ranks = [forms.ORDER[v.outcome] for v in report(*verdicts).sorted("seeds")]
    assert ranks == sorted(ranks)
