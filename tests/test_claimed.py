"""Published claims beside our results: like is compared with like, and what differs is said."""

from dataclasses import replace
from typing import Any

import pytest

from bench.rows import Row
from published_page import CLAIMS, Cells, page_of
from reports import claimed, sheets
from reports.claimed import Pairing
from reports.published import Claim
from reports.table import Table
from reports.tables import COST, cost, quality
from result_rows import described, frame, row

CONDITIONS = {
    "extractor": "inception",
    "label_rule": "random",
    "quantiser": "127.5x+128",
    "reference": "VIRTUAL_imagenet256_labeled.npz",
    "weights": "ema",
}
IMAGES = 102_493_440  # 80 epochs of ImageNet in whole batches of 256


def ours(value: float | None = 12.0, seed: int = 0, **more: Any) -> Row:
    """A result of SoFlow B/4 on ImageNet."""
    usual = {"dataset": "imagenet_latents", "net": "B/4", "epochs": 80.0, "images": IMAGES, "n": 50_000, "protocol": "p"}
    return row(more.pop("method", "soflow"), seed, value=value, **(usual | more))


def in_recipe(claim: Claim, **over: Any) -> dict[str, Any]:
    """The settings of a run in the recipe of a claim, in bench.toml's form, with other ones laid over."""
    tables: dict[str, Any] = {"train": {}, "methods": {claim.method: {}}}
    for key, value in (claim.settings | over).items():
        name = key.rpartition(".")[2]
        (tables["train"] if key.startswith("train.") else tables["methods"][claim.method])[name] = value
    return tables


def pairings(
    *rows: Row, claim: Claim = CLAIMS["soflow-b4-1"], conditions: dict[str, Any] | None = None, **over: Any
) -> list[Pairing]:
    """All claims beside these rows, whose runs were trained in the recipe of `claim` and scored under `conditions`."""
    known = CONDITIONS if conditions is None else conditions
    descriptions = {r.run: described(r.run, r.method, **in_recipe(claim, **over)) | {"protocols": {"p": known}} for r in rows}
    return claimed.pairings(tuple(CLAIMS.values()), tables_of(*rows, descriptions=descriptions), descriptions)


def tables_of(*rows: Row, descriptions: dict[str, dict[str, Any]] | None = None) -> list[Table]:
    return quality(frame(*rows), descriptions) + cost(frame(*rows), descriptions)


def of(found: list[Pairing], name: str) -> Pairing:
    [pairing] = [pairing for pairing in found if pairing.claim.id == name]
    return pairing


# What meets, and what differs


def test_the_same_protocol_and_recipe_in_closed_form() -> None:
    found = of(pairings(ours(12.0), ours(13.0, seed=1)), "soflow-b4-1")
    assert (found.ours, found.seeds) == (12.5, 2)
    assert found.spread == pytest.approx(0.5**0.5)
    assert found.difference == pytest.approx(12.5 - 11.5897, abs=1e-12)
    assert found.percent == pytest.approx(100 * (12.5 / 11.5897 - 1), rel=1e-12)
    assert found.difference_text == "+0.9103 (+7.9 %)"
    assert found.differs == (
        "evaluator torch-fidelity here, ADM (TensorFlow) there",
        "precision fp32 here, tf32 there",
        "not recorded of ours: VAE",
    )
    assert not found.command


def test_a_better_result_has_a_minus() -> None:
    assert of(pairings(ours(11.0)), "soflow-b4-1").difference_text == "-0.5897 (-5.1 %)"


@pytest.mark.parametrize(
    ("what", "more", "conditions", "over"),
    [
        ("epochs 240 here, 80 there", {"epochs": 240.0}, {}, {}),
        ("training images 51,200,000 here, 102,493,360 there", {"images": 51_200_000}, {}, {}),
        ("images scored 2,000 here, 50,000 there", {"n": 2000}, {}, {}),
        ("label rule balanced here, random there", {}, {"label_rule": "balanced"}, {}),
        ("reference imagenet_latents here, VIRTUAL_imagenet256_labeled.npz there", {}, {"reference": "imagenet_latents"}, {}),
        ("quantiser 127.5x+127.5 here, 127.5x+128 there", {}, {"quantiser": "127.5x+127.5"}, {}),
        ("weights raw here, ema there", {}, {"weights": "raw"}, {}),
        ("VAE sd-vae-ft-ema here, sd-vae-ft-mse there", {}, {"vae": "sd-vae-ft-ema"}, {}),
        ("guidance 1 here, 3 there", {}, {}, {"methods.soflow.guidance": 1.0}),
        ("mix 1 here, 0.25 there", {}, {}, {"methods.soflow.mix": 1.0}),
        ("batch 128 here, 256 there", {}, {}, {"train.batch": 128}),
        ("betas [0.9, 0.95] here, [0.9, 0.99] there", {}, {}, {"train.betas": [0.9, 0.95]}),
        ("ema 0.999 here, 0.9999 there", {}, {}, {"train.ema": 0.999}),
        ("learning rate 0.003 here, 0.0001 there", {}, {}, {"train.learning_rate": 3e-3}),
        ("precision bf16 here, tf32 there", {"precision": "bf16"}, {}, {}),
    ],
)
def test_what_differs_is_said(what: str, more: dict[str, Any], conditions: dict[str, Any], over: dict[str, Any]) -> None:
    found = of(pairings(ours(**more), conditions=CONDITIONS | conditions, **over), "soflow-b4-1")
    assert what in found.differs
    usual = of(pairings(ours()), "soflow-b4-1")
    assert what not in usual.differs
    assert (found.difference is None) == ("images scored" in what)  # fewer images score worse by themselves


def test_a_reference_is_the_same_in_any_folder() -> None:
    known = CONDITIONS | {"reference": "refs/VIRTUAL_imagenet256_labeled.npz"}
    assert not any("reference" in phrase for phrase in of(pairings(ours(), conditions=known), "soflow-b4-1").differs)


def test_what_a_claim_does_not_say_is_said() -> None:
    claim = CLAIMS["soflow-b2-1"]
    unknown = dict.fromkeys(claim.unknown, 1.0)
    found = of(pairings(ours(net="B/2", epochs=240.0, images=3 * IMAGES), claim=claim, **unknown), "soflow-b2-1")
    assert "not known of the claim: guidance, mix, r init, r end" in found.differs
    assert "not recorded of ours: VAE" in found.differs
    other = of(pairings(ours(method="meanflow", steps=8), claim=CLAIMS["meanflow-b2-1"]), "meanflow-cmt-b4-8")
    assert (
        "not known of the claim: epochs, recipe, label rule, evaluator, reference, quantiser, weights, precision"
        in other.differs
    )


@pytest.mark.parametrize(
    "more",
    [{"method": "meanflow"}, {"dataset": "digits"}, {"net": "B/2"}, {"steps": 4}, {"metric": "kernel_distance"}],
    ids=str,
)
def test_other_results_do_not_meet_the_claim(more: dict[str, Any]) -> None:
    found = of(pairings(ours(**more)), "soflow-b4-1")
    assert (found.ours, found.difference, found.ours_text, found.difference_text) == (None, None, "–", "–")
    assert found.command == "bench run soflow --dataset imagenet_latents --net B/4 --epochs 80"


def test_digits_give_no_difference_at_all() -> None:
    given = [row(m, value=1.0, steps=s) for m in ("soflow", "meanflow", "flow_matching") for s in (1, 2, 64, 250)]
    given += [row("soflow", metric=metric, value=2.0, steps=None) for metric in COST if metric != "latency_ms"]
    assert all(found.ours is None and found.difference is None for found in pairings(*given))


def test_a_failed_run_is_no_result() -> None:
    assert of(pairings(ours(None, status="failed", reason="no")), "soflow-b4-1").ours is None


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        (CONDITIONS | {"extractor": "efficientnet_lite0"}, "ours is on features of efficientnet_lite0"),
        (CONDITIONS | {"extractor": "clean_fid"}, "ours is on features of clean_fid"),
        (CONDITIONS | {"extractor_comparable": "no"}, "other Inception weights than the published ones"),
        ({}, "the extractor of ours is not recorded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_scores_of_other_features_are_not_subtracted(conditions: dict[str, Any], reason: str) -> None:
    found = of(pairings(ours(), conditions=conditions), "soflow-b4-1")
    assert found.ours == 12.0
    assert (found.difference, found.percent, found.difference_text) == (None, None, "–")
    assert reason in found.reason
    assert found.remark.startswith("no difference: ")


def test_a_cell_of_an_ablation_meets_its_own_setting_alone() -> None:
    claim = CLAIMS["meanflow-b4-p05"]
    found = pairings(ours(65.0, method="meanflow"), claim=claim)
    met = {pairing.claim.id for pairing in found if pairing.ours is not None}
    assert "meanflow-b4-p05" in met
    assert not met & {
        "meanflow-b4-p0",
        "meanflow-b4-p2",
        "meanflow-b4-omega5-1",
        "meanflow-b4-time-02-10",
        "meanflow-b4-equal0",
    }
    assert "meanflow-b4-unguided-1" in met  # no ablation: p is named among the differences
    assert "p 0.5 here, 1 there" in of(found, "meanflow-b4-unguided-1").differs


def test_a_variant_is_never_compared() -> None:
    found = pairings(ours(3.3, net="XL/2", epochs=240.0))
    assert of(found, "soflow-xl2-1").ours == 3.3
    assert of(found, "soflow-submission-xl2-1").ours is None


def test_two_protocols_are_two_lines() -> None:
    given = ours(), replace(ours(20.0), protocol="q")
    descriptions = {
        given[0].run: described(given[0].run, "soflow") | {"protocols": {"p": CONDITIONS, "q": {"extractor": "pixels"}}}
    }
    tables = tables_of(*given, descriptions=descriptions)
    found = claimed.pairings([CLAIMS["soflow-b4-1"]], tables, descriptions)
    assert [(p.ours, p.difference is None) for p in found] == [(12.0, False), (20.0, True)]


def test_counted_quantities_are_compared_once_and_without_a_protocol() -> None:
    cost_row: dict[str, Any] = {"metric": "parameters", "steps": None, "protocol": "speed", "method": "meanflow"}
    found = pairings(ours(131_250_000.0, **cost_row), ours(131_250_000.0, device="another", **cost_row))
    claim = of(found, "parameters-b4")
    assert (claim.difference, claim.differs, claim.reason) == (250_000.0, (), "")
    assert (claim.ours_text, claim.difference_text) == ("131.2 million", "+0.2500 million (+0.2 %)")


def test_the_page_shows_ours_and_what_differs() -> None:
    found = of(pairings(ours(12.0), ours(13.0, seed=1)), "soflow-b4-1")
    page = Cells(page_of([sheets.Sheet("a title", (found,))]))
    cells = [" ".join(cell.split()) for cell in page.rows[-1]]
    assert cells[2:5] == ["11.5897", "12.50 ± 0.71", "+0.9103 (+7.9 %)"]
    assert "precision fp32 here, tf32 there" in cells[5]
    assert page.values == [12.5]
    assert page.tags.count("summary") == 1  # no command: ours is there
