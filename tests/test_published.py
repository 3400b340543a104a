"""Published numbers: the data file is whole and checked, every figure is shown as printed, and what is unsure says so."""

import csv
import io
import itertools
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import config
from bench.errors import BenchError
from published_page import CLAIMS, Cells, page_of
from reports import claimed, published, sheets
from reports.claimed import Pairing
from reports.latex.text import escape_latex
from reports.published import CERTAINTIES, DATA, METRICS
from reports.tables import COST, QUALITY
from result_rows import HOSTILE

# The data


@pytest.mark.parametrize(
    ("name", "printed", "certainty"),
    [
        ("soflow-b4-unguided-1", "58.5646", "repository"),
        ("soflow-b4-1", "11.5897", "repository"),
        ("soflow-b2-1", "4.8491", "repository"),
        ("soflow-m2-1", "3.7329", "repository"),
        ("soflow-l2-1", "3.2007", "repository"),
        ("soflow-xl2-1", "2.9617", "repository"),
        ("soflow-xl2-2", "2.6606", "repository"),
        ("soflow-submission-xl2-1", "3.35", "transcription"),
        ("soflow-cifar-1", "2.8600", "repository"),  # with the zeros of the source
        ("meanflow-b4-unguided-1", "61.06", "transcription"),
        ("meanflow-jax-b4-omega2-80", "20.24", "repository"),
        ("meanflow-b4-omega2-1", "20.15", "transcription"),
        ("meanflow-b2-1", "6.17", "transcription"),
        ("meanflow-xl2-1", "3.43", "transcription"),
        ("meanflow-alpha-b2-1", "6.04", "paper text"),
        ("fm-b4-1", "328.91", "transcription"),
        ("sit-xl2-7m-guided", "2.06", "repository"),
        ("dit-b4-400k", "68.4", "unverified"),
        ("parameters-xl2-derived", "676.4M", "derived"),
    ],
)
def test_figures_are_as_printed(name: str, printed: str, certainty: str) -> None:
    assert (CLAIMS[name].printed, CLAIMS[name].certainty) == (printed, certainty)


def test_every_figure_is_its_text_and_has_a_source() -> None:
    units = {"": 1.0, "M": 1e6, " G": 1e9}
    for claim in CLAIMS.values():
        number, unit = re.fullmatch(r"~?([\d.]+)( ?[MG])?", claim.printed).groups("")  # type: ignore[union-attr]
        assert claim.value == pytest.approx(float(number) * units[unit], rel=1e-12), claim.id
        assert claim.source, claim.id
        assert claim.dataset.ours, claim.id


def test_a_figure_appears_once() -> None:
    seen: dict[tuple[Any, ...], str] = {}
    for claim in CLAIMS.values():
        key = (claim.title, claim.score, claim.dataset.name)  # what a reader tells figures apart by
        assert key not in seen, (claim.id, seen[key])
        seen[key] = claim.id


def test_settings_are_those_of_the_methods() -> None:
    """A typo in a recipe would never be found to differ: the methods and bench.toml know every name and value."""
    for claim in CLAIMS.values():
        if (claimed.ROOT / "methods" / f"{claim.method}.py").is_file():
            prefix = f"methods.{claim.method}."
            given = {key.removeprefix(prefix): value for key, value in claim.settings.items() if key.startswith(prefix)}
            known = config.complete_hyperparameters(claim.method, given)
            assert {key.removeprefix(prefix) for key in claim.unknown} <= set(known), claim.id
        train = {key.removeprefix("train."): value for key, value in claim.settings.items() if key.startswith("train.")}
        config.Train(**train)


def test_commands_are_ones_that_bench_takes() -> None:
    """All but the data set, which this version may not have yet."""
    seen = set()
    for pairing in claimed.pairings(tuple(CLAIMS.values()), [], {}):
        if pairing.command and (key := (pairing.command, pairing.recipe)) not in seen:
            seen.add(key)
            words = shlex.split(f"{pairing.command} {pairing.recipe}")
            settings = tuple(value for flag, value in itertools.pairwise(words) if flag == "--set")
            net = words[words.index("--net") + 1] if "--net" in words else None
            suite = config.load(config.SHIPPED, {"run": {"methods": [words[2]], "net": net}}, settings)
            [run] = suite.runs()
            assert words[3:5] == ["--dataset", pairing.claim.dataset.ours]
            for name, value in pairing.claim.settings.items():
                table, _, key_ = name.rpartition(".")
                if name != "train.batch":  # a flag of its own
                    found = run.hyperparameters[key_] if table.startswith("methods") else getattr(run.train, key_)
                    assert claimed._same(value, found), (pairing.claim.id, name)
    assert len(seen) > 40


def test_a_metric_of_ours_has_our_name() -> None:
    known = {*QUALITY, *COST}
    own = {claim.metric for claim in CLAIMS.values()} & known
    assert {"frechet_distance", "inception_score", "inception_score_adm", "parameters", "forward_macs"} <= own
    assert {claim.metric for claim in CLAIMS.values()} <= set(METRICS)


# Refusals


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value = 4.8491,", "value = 4.8491, vlaue = 1,", r"'soflow-b2-1': unknown key 'vlaue' \(did you mean 'value'"),
        ("value = 4.8491,", "", "'soflow-b2-1': no value"),
        ("value = 4.8491,", 'value = "4.8491",', "'soflow-b2-1': value = '4.8491'"),
        ("value = 4.8491,", "value = nan,", "'soflow-b2-1': value = NaN"),
        ("value = 4.8491,", "value = true,", "'soflow-b2-1': value = True"),
        ("value = 4.8491,", 'value = 4.8491, certainty = "sure",', "Unknown certainty in figure 'soflow-b2-1': 'sure'"),
        ("value = 4.8491,", 'value = 4.8491, metric = "fid",', "Unknown metric in figure 'soflow-b2-1': 'fid'"),
        ("value = 4.8491,", 'value = 4.8491, protocol = "x",', "Unknown protocol in figure 'soflow-b2-1': 'x'"),
        ("value = 4.8491,", 'value = 4.8491, cell = ["kapa"],', "'soflow-b2-1': cell names 'kapa'"),
        ("value = 4.8491,", "value = 4.8491, cell = [1],", r"'soflow-b2-1': cell = \[1\]"),
        ("value = 4.8491,", "value = 4.8491, note = 1,", "'soflow-b2-1': note = 1"),
        ('id = "soflow-b2-1"', 'id = "soflow-b2-2"', "Two figures have the id 'soflow-b2-2'"),
        ('id = "soflow-b2-1", ', "", "figure 5 of source 1: no id"),
        ("epochs = 240, steps = 1, value = 4.8491", "epochs = -1, steps = 1, value = 4.8491", "epochs = -1"),
        ("epochs = 240, steps = 1, value = 4.8491", "epochs = 240, steps = 0, value = 4.8491", "steps = 0"),
        ("epochs = 240, steps = 1, value = 4.8491", "epochs = 240, steps = 1.5, value = 4.8491", "steps = Decimal"),
        ('label_rule = "balanced"', 'label_rule = "equal"', r"Unknown label_rule in \[protocols.alpha_flow_balanced\]"),
        ("images = 50_000, ", "", r"\[datasets.cifar10\]: no images"),
        ("[parts]\n", "[parts]\n]", "is not TOML"),
        ("[parts]\n", "[other]\n", "unknown key 'other'"),
    ],
)
def test_a_broken_file_is_refused(write_file: Callable[[str, str], Path], old: str, new: str, message: str) -> None:
    text = DATA.read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(BenchError, match=message) as caught:
        published.load(write_file("published.toml", text.replace(old, new, 1)))
    assert caught.value.remedy


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="Cannot read"):
        published.load(tmp_path / "published.toml")


# What is shown


def test_the_page_shows_every_claim_marked_as_unsure_as_it_is() -> None:
    page = Cells(page_of(sheets.sheets([], {})))
    shown = [[" ".join(cell.split()) for cell in cells] for cells in page.rows]
    lines = {(cells[0], cells[1]): cells for cells in shown}
    for claim in CLAIMS.values():
        cells = lines[claim.title, claim.score]
        assert cells[3:5] == ["–", "–"]
        assert claim.source in cells[6]
    assert lines["dit B/4, no guidance, 400,000 iterations", "FID"][2] == "68.4 ‡"
    assert lines["meanflow M/2, omega 1, kappa 0.5, 240 epochs", "FID, 1 step"][2] == "5.01 †"
    assert lines["soflow M/2, guided, 240 epochs", "FID, 1 step"][2] == "3.7329"
    assert "The submission has 3.35." in lines["soflow XL/2, guided, 240 epochs", "FID, 1 step"][6]
    assert (
        "bench run soflow --dataset imagenet_latents --net B/2 --epochs 240"
        in lines["soflow B/2, guided, 240 epochs", "FID, 1 step"][5]
    )
    assert not page.values


def test_marks_are_explained_where_they_stand() -> None:
    for sheet in sheets.sheets([], {}):
        marks = {pairing.claim.mark for pairing in sheet.pairings} - {""}
        assert {note[0] for note in sheet.notes if note[0] in "†‡§"} == marks
        assert all(mark == CERTAINTIES[p.claim.certainty][0] for p in sheet.pairings for mark in [p.claim.mark])


def test_hostile_names_are_escaped() -> None:
    claim = replace(CLAIMS["soflow-b4-1"], source=HOSTILE, note=HOSTILE, setting=HOSTILE, printed=HOSTILE, arxiv=HOSTILE)
    pairing = Pairing(claim=claim, line=HOSTILE, runs=(HOSTILE,), ours=1.0, ours_text=HOSTILE, differs=(HOSTILE,))
    alone = Pairing(claim=claim, command=HOSTILE, recipe=HOSTILE, reason="")
    sheet = sheets.Sheet(HOSTILE, (pairing, alone))
    text = page_of([sheet])
    assert "script" not in Cells(text).tags
    assert "<script" not in text
    latex = sheets.render([sheet], "latex").replace(r"\allowbreak{}", "").splitlines()
    lines = [line for line in latex if line.endswith((r" \\", r" \tabularnewline"))]
    assert not any(re.search(r"(?<!\\)[_$#%]|<script", line.replace("$-$", "")) for line in lines)
    assert sum(escape_latex(HOSTILE) in line for line in lines) == 2 * latex.count(r"\toprule")
    columns = [len(re.findall(r"(?<!\\)&", line)) for line in lines if "figure" in line]
    assert sum(columns) == len(sheets.HEADS) - 1  # the first stands in each tabular
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == set(columns)
    markdown = sheets.render([sheet], "markdown")
    assert "<script" not in markdown.replace(r"\<", "")
    for line in [line for line in markdown.splitlines() if line.startswith("|")]:
        assert len(re.findall(r"(?<!\\)\|", line)) == len(sheets.HEADS) + 1


def test_forms_keep_every_figure() -> None:
    found = sheets.sheets([], {})
    document = json.loads(sheets.render(found, "json"))
    records = [record for table in document["tables"] for record in table["figures"]]
    assert {record["id"]: record["value"] for record in records} == {claim.id: claim.value for claim in CLAIMS.values()}
    assert {r["id"]: r["printed"] for r in csv.DictReader(io.StringIO(sheets.render(found, "csv")))} == {
        claim.id: claim.printed for claim in CLAIMS.values()
    }
    text = sheets.render(found, "markdown")
    assert "| 5.01 † | – | – |" in text
    latex = sheets.render(found, "latex")
    assert r"FID, 1 step & 6.17 \dag{} & " in latex
    assert all(f"& {escape_latex(claim.text)} &" in latex for claim in CLAIMS.values())
    assert latex.count(r"Left out, without a value: ours, difference.\par}") == len(found)
    with pytest.raises(BenchError, match="did you mean 'latex'"):
        sheets.render(found, "latx")
