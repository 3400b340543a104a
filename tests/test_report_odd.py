"""Files that can be read and hold what this suite does not write: named as left out, and the rest is shown.

Names too: different ones have different places in the site, whatever they are made of.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bench import rows
from bench.store import Root
from reports.render import build
from reports.site import reading
from reports.site.described import sound
from reports.site.links import slug
from result_rows import PROTOCOL, described, row, save

RUN = "digits-soflow-T-2-s0-abc"
HUGE = int("9" * 400)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAUSE", 0.0)


@pytest.fixture
def a(tmp_path: Path) -> Root:
    return Root(tmp_path / "a")


def directory_of(root: Root, name: str = RUN, log: str = "") -> Any:
    run = root.run(name)
    run.path.mkdir(parents=True)
    run.write_status("finished", images=2)
    if log:
        run.train_log.write_text(log)
    return run


# Descriptions

DEEP: Any = {}
for _ in range(40):
    DEEP = {"deeper": DEEP}
ODD = {
    "a measurement": ({"measurements": {PROTOCOL: "x"}}, f"measurements: {PROTOCOL}"),
    "measurements": ({"measurements": [1]}, "measurements"),
    "sessions": ({"sessions": 5}, "sessions"),
    "a session": ({"sessions": [{}, "x"]}, "sessions"),
    "extractor": ({"protocols": {PROTOCOL: {"extractor": []}}}, f"protocols: {PROTOCOL}"),
    "memory": ({"protocols": {PROTOCOL: {"memory": {}}}}, f"protocols: {PROTOCOL}"),
    "weights": ({"protocols": {PROTOCOL: {"weights": []}}}, f"protocols: {PROTOCOL}"),
    "samples": ({"protocols": {PROTOCOL: {"extractor": "inception", "samples": "many"}}}, f"protocols: {PROTOCOL}"),
    "many samples": ({"protocols": {PROTOCOL: {"extractor": "inception", "samples": HUGE}}}, f"protocols: {PROTOCOL}"),
    "command": ({"command": ["bench"]}, "command"),
    "config": ({"config": "x"}, "config"),
    "a huge setting": ({"config": {"train": {"batch": HUGE}}}, "config"),
    "deep": ({"config": DEEP}, "config"),
    "versions": ({"versions": 1}, "versions"),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_parts_of_a_description_are_named_and_the_rest_is_shown(kind: str, a: Root, tmp_path: Path) -> None:
    change, name = ODD[kind]
    save(a, [row("meanflow", value=2.0), row("meanflow", metric="latency_ms", value=2.0)])
    rows.write(a.result_file(RUN), [row(value=1.0)], described(RUN, "soflow") | change)
    site = build([a], tmp_path / "site")
    [item] = site.left_out
    assert item.what == f"{name} in the description of results/{RUN}.parquet"
    assert item.what in site.index.read_text()
    assert "0123456789abcdef" in (tmp_path / "site" / "runs" / f"{RUN}.html").read_text(), "the commit: the rest"


def test_odd_parts_in_a_run_directory_are_named_too(a: Root, tmp_path: Path) -> None:
    odd = described(RUN, "soflow") | {"measurements": {PROTOCOL: "x"}, "sessions": 5, "config": {"train": {"batch": HUGE}}}
    directory_of(a, log='{"images": 1, "epoch": 1, "mse": 1.0}\n').provenance.write_text(json.dumps(odd))
    [item] = build([a], tmp_path / "site").left_out
    where = f"in the description of runs/{RUN}/provenance.json"
    assert item.what == f"config, measurements: {PROTOCOL}, sessions {where}"


def test_what_this_suite_writes_is_sound() -> None:
    session = {"commit": "4e43", "dirty": False, "versions": {"torch": "2.15.0"}, "device": "cpu", "started_at": "2026"}
    conditions = {"extractor": "digits", "samples": 2000, "label_rule": "random", "weights": "ema", "extractor_seed": 1}
    given = described(RUN, "soflow") | {"sessions": [session], "measurements": {PROTOCOL: session}, "schema": 2}
    given |= {"protocols": {PROTOCOL: conditions}}
    assert sound(given) == (given, [])


# Rows and logs


def test_values_too_large_to_calculate_with_are_none(a: Root, tmp_path: Path) -> None:
    save(a, [row("meanflow", value=2.0), *(row(value=v, sample_seed=s) for s, v in enumerate((1e200, -2e200)))])
    save(a, [row("flow_matching", value=3.0, standard_error=1e200)])
    site = build([a], tmp_path / "site")
    page = (tmp_path / "site" / "runs" / f"{RUN}.html").read_text()
    assert "failed: the value is 1e+200, beyond 1e+150" in page
    assert [item.what for item in site.left_out] == [
        f"the spreads of 1 of 1 rows of results/{row('flow_matching').run}.parquet"
    ]


@pytest.mark.parametrize("key", ["images", "epoch", "loss", "mse", "grad_norm"])
def test_a_log_with_a_number_of_hundreds_of_digits_is_named(key: str, a: Root, tmp_path: Path) -> None:
    save(a, [row(value=1.0)])
    line = {"images": 1, "epoch": 1, "loss": 1.0, "mse": 1.0, "grad_norm": 1.0}
    directory_of(a, log=json.dumps(line) + "\n" + json.dumps(line | {key: HUGE}) + "\n")
    site = build([a], tmp_path / "site")
    [item] = site.left_out
    assert item.what == f"runs/{RUN}/train.jsonl"
    assert "no numbers" in item.reason


# Names


def test_a_name_that_is_another_s_address_has_its_own(a: Root, tmp_path: Path) -> None:
    names = ["a b", slug("a b"), slug("a b").replace(".", "-"), "", slug("")]
    assert len({slug(name) for name in names}) == len(names)
    save(a, [row(value=1.0, run=name, seed=seed) for seed, name in enumerate(names[:3])])
    build([a], tmp_path / "site")
    assert len(list((tmp_path / "site" / "runs").glob("*.html"))) == 3


def test_addresses_of_names_as_this_suite_makes_them_stay() -> None:
    assert slug("digits-flow_matching-T-2-s0-82fe4b41") == "digits-flow_matching-T-2-s0-82fe4b41"


def test_file_names_that_are_no_utf_8_differ(a: Root, tmp_path: Path) -> None:
    save(a, [row(value=1.0)])
    log = '{"images": 1, "epoch": 1, "mse": 1.0}\n'
    for name in (b"run-\xff", b"run-\xfe"):
        directory_of(a, os.fsdecode(name), log)
    build([a], tmp_path / "site")
    assert len(list((tmp_path / "site" / "runs").glob("run-*.html"))) == 2


def test_a_description_may_hold_half_a_character(a: Root, tmp_path: Path) -> None:
    half = json.loads('"\\ud83d"')
    given = {"run": {"dataset": half, "net": half, "methods": [half], "epochs": 1.0}, "train": {half: half}}
    directory_of(a, log='{"images": 1, "epoch": 1, "mse": 1.0}\n').provenance.write_text(json.dumps({"config": given}))
    build([a], tmp_path / "site")


def test_a_conflict_in_a_folder_whose_name_is_no_utf_8(a: Root, tmp_path: Path) -> None:
    b = Root(tmp_path / os.fsdecode(b"b-\xff"))
    log = '{"images": 1, "epoch": 1, "mse": 1.0}\n'
    for root, value in ((a, 1.0), (b, 2.0)):
        save(root, [row(value=value), row(metric="train_images_per_second", value=value)])
        directory_of(root, log=log)
    site = build([a, b], tmp_path / "site")
    assert len(site.conflicts) == 1
    assert len(list((tmp_path / "site" / "runs").glob("*.html"))) == 2
