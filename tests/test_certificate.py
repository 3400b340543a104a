"""The certificate of parity: what was equal for all lines of a table is named, and nothing else is called equal."""

from typing import Any

import pytest

from bench.rows import Row
from reports import tables
from reports.certificate import Certificate, certificate
from reports.lines import differences
from result_rows import described, failed, frame, row


def of(given: list[Row], descriptions: dict[str, dict[str, Any]] | None = None) -> Certificate:
    """Of the one table of these rows."""
    known = {r.run: described(r.run, r.method) for r in given} if descriptions is None else descriptions
    [table] = tables.quality(frame(*given), known)
    return certificate(table, known)


def scored_row(method: str, seed: int = 0, **more: Any) -> Row:
    """As evaluation writes it: the sampling seed and the number of images are known."""
    return row(method, seed, **({"sample_seed": 0, "n": 2000} | more))


def names(conditions: Any) -> list[str]:
    return [condition.name for condition in conditions]


def test_what_was_equal_is_named_with_its_value() -> None:
    found = of([scored_row("soflow"), scored_row("meanflow", value=2.0)])
    equal = dict(found.equal)
    expected = {"data set": "digits", "epochs": "240", "images seen": "431,232", "precision": "fp32", "batch": "128"}
    assert {name: equal[name] for name in expected} == expected
    assert equal["commit of training"] == "0123456789+"
    assert equal["commit of measurement"] == "0123456789"
    assert found.dirty
    assert (found.unequal, names(found.unknown)) == ([], ["processor", "platform"])
    assert found.verdict.startswith(f"Equal for all 2 lines: {len(equal)} conditions. Nothing that was recorded differs.")
    assert dict(found.own) == {"soflow": "p 1", "meanflow": "p 1"}


@pytest.mark.parametrize(
    ("name", "more", "config"),
    [
        ("images seen", {"images": 400_000}, {}),
        ("precision", {"precision": "bf16"}, {}),
        ("attention", {"attention": "flash"}, {}),
        ("processes", {"world_size": 2}, {}),
        ("device", {"device": "another"}, {}),
        ("commit of measurement", {"commit": "fedcba9876543210"}, {}),
        ("commit of measurement", {"dirty": True}, {}),
        ("training seeds", {"seed": 1}, {}),
        ("images scored", {"n": 1000}, {}),
        ("sampling seeds", {"sample_seed": 4}, {}),
        ("batch", {}, {"train": {"batch": 256}}),
        ("learning rate", {}, {"train": {"batch": 128, "learning_rate": 0.000123456}}),
        ("betas", {}, {"train": {"batch": 128, "betas": [0.9, 0.99]}}),
        ("datasets.digits flip", {}, {"datasets": {"digits": {"flip": True}}}),
    ],
)
def test_what_differs_between_lines_is_found(name: str, more: dict[str, Any], config: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"train": {"batch": 128}}
    if "learning_rate" in config.get("train", {}):
        usual["train"]["learning_rate"] = 0.00012345600001  # equal to six digits is not equal
    if "betas" in config.get("train", {}):
        usual["train"]["betas"] = [0.9, 0.95]
    if "datasets" in config:
        usual["datasets"] = {"digits": {"flip": False}}
    one, other = scored_row("soflow"), scored_row("meanflow", **({"value": 2.0} | more))
    known = {one.run: described(one.run, "soflow", **usual), other.run: described(other.run, "meanflow", **(usual | config))}
    found = of([one, other], known)
    assert names(found.unequal) == [name]
    assert f"Not equal: {name}." in found.verdict
    assert len({texts for _, texts in found.by_line}) == 2
    assert name not in dict(found.equal)


def test_a_line_of_two_values_is_not_equal_though_all_lines_have_both() -> None:
    given = [row(m, seed, device=f"device {seed}", value=1.0 + seed) for m in ("soflow", "meanflow") for seed in (0, 1)]
    found = of(given)
    assert names(found.unequal) == ["device"]
    assert found.by_line[0][1][0] == "device 0 and device 1"


def test_what_one_run_did_not_record_is_unknown_and_not_equal() -> None:
    given = [scored_row("soflow"), scored_row("meanflow", value=2.0)]
    known = {r.run: described(r.run, r.method) for r in given}
    del known[given[1].run]["data_digest"]
    found = of(given, known)
    assert "data digest" in names(found.unknown)
    assert "data digest" not in dict(found.equal)
    assert "Not recorded for every line: data digest" in found.verdict
    assert dict(found.by_line)["meanflow"][0] == "not recorded"


def test_a_line_of_which_one_run_did_not_record_it_is_unknown() -> None:
    given = [scored_row(m, seed, value=1.0 + seed) for m in ("soflow", "meanflow") for seed in (0, 1)]
    known = {r.run: described(r.run, r.method) for r in given}
    known[given[0].run]["data_digest"] = ""
    found = of(given, known)
    assert "data digest" in names(found.unknown)
    assert dict(found.by_line)["soflow"][0] == "not recorded"


def test_training_that_went_on_at_another_commit_has_both() -> None:
    given = [row("soflow"), row("meanflow", value=2.0)]
    known = {r.run: described(r.run, r.method) for r in given}
    known[given[0].run]["sessions"] = [{"commit": c * 12, "dirty": False} for c in "ab"]
    found = of(given, known)
    assert "commit of training" in names(found.unequal)
    assert dict(found.by_line)["soflow"][0] == "aaaaaaaaaa and bbbbbbbbbb"


def test_one_line_and_no_line_have_nothing_to_compare() -> None:
    assert of([row()]).verdict == "One line has values, so there is nothing to compare it with."
    assert of([failed("soflow", 0)]).verdict == "No line has a value, so there is nothing to compare."
    assert of([row(), failed("meanflow", 0)]).lines == ("soflow",)


def test_a_sentence_of_many_lines_counts_them() -> None:
    lines = {f"m{i}": [row(f"m{i}", precision="bf16" if i else "fp32")] for i in range(40)}
    [sentence] = differences(lines, {})
    assert sentence == "Not equal: precision (bf16: 39 lines; fp32: 1 line)."
