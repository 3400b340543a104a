"""The verbs about scores as a person meets them: score, stats, fetch. What they compute is tested beside it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import bench, mistake

VERBS = ("score", "stats build", "stats list", "stats verify", "fetch", "explain")


@pytest.fixture
def pictures(tmp_path: Path, digits: Any) -> Path:
    """A folder of 60 digits as PNG."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, image in enumerate(digits.to_uint8(digits.images(torch.arange(60))[0])):
        Image.fromarray(image[0].numpy()).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb: str) -> None:
    assert re.search(rf"Example: bench {verb} \S+", " ".join(bench(*verb.split(), "--help").output.split()))


def test_score_prints_both_protocols_and_writes_what_traces_them(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    words = ["--protocol", "digits", "--protocol", "pixels", "--metric", "frechet_distance", "--root", str(tmp_path)]
    result = bench("score", str(pictures), "digits", *words, "--out", str(out))
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text())
    for record in written["scores"]:
        assert record["protocol"] in result.stdout
        assert f"{record['value']:.5g}" in result.stdout
    assert {record["extractor"] for record in written["scores"]} == {"digits", "pixels"}
    assert written["samples"]["count"] == 60
    assert len(written["protocols"]) == 2


def test_stats_are_built_listed_and_verified(pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "digits.npz"
    built = bench("stats", "build", str(pictures), "--extractor", "digits", "--out", str(file), "--root", str(tmp_path))
    assert built.exit_code == 0, built.output
    listed = bench("stats", "list", str(tmp_path))
    assert "60 images, by digits" in " ".join(listed.stdout.split())
    assert bench("stats", "verify", str(file)).exit_code == 0
    with np.load(file) as whole:
        arrays = dict(whole)
    arrays["mu"] = arrays["mu"] + 1
    np.savez(file, **arrays)
    broken = bench("stats", "verify", str(file))
    assert broken.exit_code == 1
    assert "wrong" in broken.stdout


def test_nothing_listed_is_said(tmp_path: Path) -> None:
    assert "(none yet)" in bench("stats", "list", "--root", str(tmp_path)).stdout


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (("score", "nowhere", "digits"), "nowhere"),
        (("score", "PICTURES", "nowhere"), "nowhere"),
        (("score", "PICTURES", "digits", "--samples", "61"), "61"),
        (("score", "PICTURES", "digits", "--protocol", "digit"), "did you mean 'digits'?"),
        (("score", "PICTURES", "digits", "--metric", "fid"), "'fid'"),
        (("stats", "build", "nowhere"), "nowhere"),
        (("fetch", "inceptio"), "did you mean 'inception'?"),
        (("fetch", "inception", "--offline"), "--offline forbids the network"),
    ],
)
def test_mistakes_get_three_parts(
    words: tuple[str, ...], given: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = () if words[0] == "fetch" else ("--root", str(tmp_path))
    assert given in mistake(bench(*(str(pictures) if word == "PICTURES" else word for word in words), *root))


def test_fetch_lists_what_is_known() -> None:
    result = bench("fetch")
    assert result.exit_code == 0
    assert "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2" in result.stdout.replace("\n", "")
