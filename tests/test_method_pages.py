"""A page a method: its equations are those of its file, what differs from its paper is marked, its numbers are its rows'."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from bench import rows
from bench.store import Root, append_line
from reports import tables
from reports.papers.equations import EQUATIONS, SYMBOLS, mathml
from reports.papers.method_page import MANY
from reports.papers.method_source import FOLDER, Source, read_source
from reports.papers.paper import PAPERS
from reports.papers.recipes import Recipes, recipe_sheets
from reports.published import Claim, load
from reports.site.links import method_page, run_page
from result_rows import HOSTILE, described, failed, frame, made_up, realistic, row
from site_pages import Page, rendered
from training_logs import log


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


# The file of a method, and its equations


@pytest.mark.parametrize("method", sorted(PAPERS))
def test_every_equation_names_a_function_that_is_there(method: str) -> None:
    own, shared = read_source(method), read_source("_path")
    for equation in EQUATIONS[method]:
        name = equation.function.removeprefix("_path.")
        there = shared if name != equation.function else own
        assert not name or name in there.functions, equation.title
    assert len({equation.title for equation in EQUATIONS[method]}) == len(EQUATIONS[method])
    assert PAPERS[method].main.arxiv in own.docstring


@pytest.mark.parametrize("method", sorted(PAPERS))
def test_equations_become_whole_mathml(method: str) -> None:
    for latex in [equation.latex for equation in EQUATIONS[method]] + [symbol.latex for symbol in SYMBOLS[method]]:
        made = mathml(latex)
        body = made.partition(">")[2]
        assert made.startswith("<math alttext=")
        assert "merror" not in body
        assert "\\" not in body, latex  # a command that nobody translated
        assert body.count("<mrow>") == body.count("</mrow>")
    assert mathml("a < b & c").startswith('<math alttext="a &lt; b &amp; c"')


def test_the_letters_of_the_hyperparameters_are_those_of_the_file() -> None:
    for method, names in {"soflow": "guidance mix guidance_cutoff p eps", "meanflow": "omega kappa p eps"}.items():
        assert set(names.split()) <= read_source(method).fields.keys()
    assert "0.025" in (FOLDER / "soflow.py").read_text()  # in d(t), as the equation has it


def test_a_file_is_read_and_never_run(tmp_path: Path) -> None:
    method = "class Method:\n    num_classes: int\n    pace: float = 2.0  # how fast\n    def loss(self): ...\n"
    text = f'"""Mine."""\nraise SystemExit(3)\n{method}'
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "broken.py").write_text("def (")
    source = read_source("mine", tmp_path)
    assert source.docstring == "Mine."
    assert (source.fields["pace"].default, source.fields["pace"].meaning) == ("2.0", "how fast")
    assert source.functions == {"loss"}
    for name in ("broken", "absent", f"../{tmp_path.name}/mine", HOSTILE, "n" * 300, ""):
        assert read_source(name, tmp_path) == Source()


# What the paper sets


def recipes(method: str, hyperparameters: dict[str, Any], train: dict[str, Any], **group: Any) -> Recipes:
    """The sheet of one run with these settings."""
    place = {"dataset": "imagenet_latents", "net": "B/2", "epochs": 240.0} | group
    run = row(method, value=6.0, **place)
    config = {"run": place, "train": train, "methods": {method: hyperparameters}}
    descriptions = {run.run: described(run.run, method) | {"config": config}}
    [sheet] = recipe_sheets(method, tables.quality(frame(run), descriptions), descriptions, load().claims, read_source(method))
    return sheet


def papers_own(method: str, net: str, epochs: float) -> Claim:
    return next(c for c in load().claims if PAPERS[method].owns(c) and (c.net, c.epochs) == (net, epochs))


def as_the_paper(claim: Claim) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its hyperparameters and training, as our settings have them."""
    own = f"methods.{claim.method}."
    hyper = {key.removeprefix(own): value for key, value in claim.settings.items() if key.startswith(own)}
    train = {key.removeprefix("train."): value for key, value in claim.settings.items() if key.startswith("train.")}
    return hyper, train | {"precision": claim.precision}


@pytest.mark.parametrize(("method", "net", "epochs"), [("meanflow", "B/2", 240.0), ("soflow", "XL/2", 240.0)])
def test_the_paper_s_own_recipe_differs_in_nothing(method: str, net: str, epochs: float) -> None:
    claim = papers_own(method, net, epochs)
    hyper, train = as_the_paper(claim)
    sheet = recipes(method, hyper, train, net=net, epochs=epochs)
    assert list(sheet.different.values()) == [[]]
    assert not sheet.elsewhere
    assert f"{net}," in sheet.paper
    shown = {setting.name: setting for part in sheet.parts for setting in part.rows}
    assert shown["batch"].theirs == "256" == shown["batch"].ours[0]
    assert shown["optimiser"].ours == ("AdamW",)
    for key in claim.unknown:
        assert shown[key.rpartition(".")[2].replace("_", " ")].theirs == "not found"


@pytest.mark.parametrize(
    ("hyper", "train", "said"),
    [
        ({"omega": 2.0}, {}, "omega 2, in the paper 1"),
        ({"time": [-0.2, 1.0]}, {}, "time (-0.2, 1), in the paper (-0.4, 1)"),
        ({}, {"batch": 128}, "batch 128, in the paper 256"),
        ({}, {"precision": "bf16"}, "precision bf16, in the paper fp32"),
        ({}, {"weight_decay": 0.1}, "optimiser AdamW, in the paper Adam; weight decay 0.1, in the paper 0"),
    ],
)
def test_what_is_not_as_in_the_paper_is_marked(hyper: dict[str, Any], train: dict[str, Any], said: str) -> None:
    theirs, training = as_the_paper(papers_own("meanflow", "B/2", 240.0))
    [different] = recipes("meanflow", theirs | hyper, training | train).different.values()
    assert "; ".join(different) == said


def test_the_recipe_is_that_of_the_data_set_else_another_s_and_said_so() -> None:
    assert recipes("soflow", {}, {"batch": 1024}, dataset="cifar10", net="T/4").paper.startswith("CIFAR-10")
    other = recipes("soflow", {}, {"batch": 1024}, dataset="digits", net="T/2")
    assert other.elsewhere
    assert other.paper.startswith("ImageNet")
    assert recipes("mine", {"pace": 2}, {"batch": 64}).paper == ""
    assert "SiT" in recipes("flow_matching", {}, {"batch": 256}).paper


def test_an_ablation_or_a_third_party_s_run_is_no_recipe() -> None:
    owned = [claim for claim in load().claims if claim.method in PAPERS and PAPERS[claim.method].owns(claim)]
    assert {claim.method for claim in owned} == set(PAPERS)
    assert not [claim.id for claim in owned if claim.cell or claim.variant or "third" in claim.source]
    assert {claim.part for claim in owned} <= {"imagenet", "many_steps", "cifar10"}


def test_imported_weights_have_no_training_of_ours() -> None:
    run = row("soflow", value=3.0, dataset="imagenet_latents", net="XL/2")
    config = {"origin": "imported soflow ema 0", "train": {"batch": 128}, "methods": {"soflow": {"guidance": 3.0}}}
    descriptions = {run.run: described(run.run, "soflow") | {"config": config}}
    [sheet] = recipe_sheets("soflow", tables.quality(frame(run), descriptions), descriptions, load().claims, Source())
    shown = {setting.name: setting for part in sheet.parts for setting in part.rows}
    assert (shown["batch"].ours, shown["optimiser"].ours) == (("–",), ("–",))


# The page


def test_scores_by_steps_are_the_rows(root: Root, tmp_path: Path) -> None:
    given = realistic()
    pages = rendered(root, given, tmp_path / "site")
    for method in ("soflow", "meanflow", "flow_matching"):
        shown = pages[method_page(method)].cells_of("steps")
        means: dict[tuple[Any, ...], list[float]] = {}
        for r in given:
            if r.method == method and r.metric in tables.QUALITY and r.value is not None:
                means.setdefault((r.metric, r.steps), []).append(r.value)
        expected = sorted(sum(values) / len(values) for values in means.values())
        assert sorted(cell["value"] for cell in shown) == pytest.approx(expected, rel=1e-12)
        for cell in shown:
            place, _, fragment = cell["link"].removeprefix("../").partition("#")
            assert fragment in pages[place].ids


def test_training_and_failures_are_on_the_page(root: Root, tmp_path: Path) -> None:
    [bad] = [failed("meanflow", 1)]
    given = [*realistic(), bad]
    run = root.run("digits-meanflow-T-2-s0-abc")
    run.write_status("finished", images=10)
    for record in log([1, 1, 1, 1, 8, 1], [3, 2, 1.25, 1, 1, 0.8751]):
        append_line(run.train_log, json.dumps(record))
    text = rendered(root, given, tmp_path / "site")[method_page("meanflow")].text
    section = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.partition('id="stability"')[2]))
    assert "Of 2 runs, 1 is not ok, 1 is with a spike of the gradient norm." in section
    assert "0.8751 epoch 6" in section
    assert "8 epoch 5 1 epoch 5 0" in section  # the largest norm, one spike there, nothing that is not finite
    assert "the loss is not finite" in section
    assert "no training log here" in section
    assert text.count("<svg") >= 2  # mse and gradient norm


def test_a_method_of_one_s_own_has_a_page_that_says_so(root: Root, tmp_path: Path) -> None:
    name = "x" * 300
    given = [*made_up({HOSTILE: 1.0, "../../mine": 2.0, name: 3.0}, draw=random.Random(0))]
    given = [rows.Row(**(vars(r) | {"run": f"{r.method}{r.train_seed}"})) for r in given]
    pages = rendered(root, given, tmp_path / "site")
    for method in (HOSTILE, "../../mine", name):
        page: Page = pages[method_page(method)]
        assert "This suite knows no paper of" in page.text
        assert "<script>alert" not in page.text
        assert "math" not in page.tags
    assert {path.resolve().is_relative_to(tmp_path) for path in tmp_path.rglob("*.html")} == {True}


def test_links_of_a_method_page_lead_to_runs(root: Root, tmp_path: Path) -> None:
    pages = rendered(root, realistic(), tmp_path / "site")
    page = pages[method_page("flow_matching")]
    for seed in (0, 1):
        assert f"../{run_page(f'digits-flow_matching-T-2-s{seed}-abc')}" in page.links
    assert "https://arxiv.org/abs/2210.02747" in page.links
    assert len(page.ids) == len(set(page.ids))


def test_where_curves_are_many_the_page_leads_to_those_of_all_methods(root: Root, tmp_path: Path) -> None:
    given = []
    for i in range(MANY + 1):
        given.append(row(f"m{i:02d}", value=1.0 + i))
        run = root.run(given[-1].run)
        run.write_status("finished", images=10)
        append_line(run.train_log, json.dumps(log([1.0])[0]))
    pages = rendered(root, given, tmp_path / "site")
    page = pages[method_page("m03")]
    assert "svg" not in page.tags
    assert "../training.html#off=" + ",".join(f"m{i:02d}" for i in range(MANY + 1) if i != 3) in page.links
    assert "svg" in pages["training.html"].tags
