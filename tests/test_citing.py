"""How to cite: the paragraph says what the rows say and nothing else, and every citation in it has its BibTeX."""

import re
from pathlib import Path
from typing import Any

import pytest

from bench import rows
from bench.store import Root
from reports.papers import literature
from reports.papers.citing import Citation, citation_of
from reports.papers.paper import PAPERS
from reports.papers.prose import REFERENCES, Said, cite, latex, listed, plain
from reports.render import render
from reports.site.content import gather
from result_rows import HOSTILE, PROTOCOL, described, failed, realistic, row, save, scored
from site_browser import NO_BROWSER, browser_page, until
from site_pages import rendered

TRAIN = {
    "batch": 128, "learning_rate": 3e-3, "betas": [0.9, 0.95], "weight_decay": 0.0, "warmup_images": 25_600, "ema": 0.999,
}  # fmt: skip
CONDITIONS = {
    "extractor": "digits", "samples": 2000, "label_rule": "random", "weights": "ema", "reference_images": 1797,
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def cited(root: Root, given: list[rows.Row], conditions: dict[str, Any] = CONDITIONS, **config: Any) -> Citation:
    """What is said of these rows, whose runs have these settings; `config` by method, laid over TRAIN."""
    descriptions: dict[str, dict[str, Any]] = {}
    for r in given:
        own = config.get(r.method, {})
        settings = {"train": TRAIN | own.get("train", {}), "methods": {r.method: own.get("methods", {})}}
        told = described(r.run, r.method, **settings) | {"device": r.device, "versions": {"torch": "2.15.0"}}
        descriptions[r.run] = told | {"protocols": {PROTOCOL: conditions}} | own.get("more", {})
    save(root, given, descriptions)
    return citation_of(gather(root))


def text_of(found: Citation) -> str:
    [paragraph] = found.paragraphs
    return paragraph.text


# The paragraph


def test_what_was_imported_was_not_trained_here(root: Root) -> None:
    given = [scored("soflow", 0, k, [1.0, 2.0], steps=1) for k in (0, 1)]
    imported = {"soflow": {"more": {"config": {"origin": "imported SoFlow ema abc", "methods": {"soflow": {}}}}}}
    text = text_of(cited(root, given, **imported))
    assert text.startswith("We evaluate SoFlow")
    assert "Its weights were published by others, not trained here." in text
    assert "Scoring ran on" in text
    assert "raining and scoring" not in text


def test_without_a_common_number_of_steps_each_has_its_own(root: Root) -> None:
    given = [scored("soflow", 0, 0, [1.0, 2.0], steps=1), scored("flow_matching", 0, 0, [1.0, 2.0], steps=64)]
    assert "(network evaluations): Flow Matching at 64; SoFlow at 1" in text_of(cited(root, given))


def test_the_paragraph_says_what_the_rows_say(root: Root) -> None:
    runs = [(method, seed) for method in ("soflow", "meanflow") for seed in (0, 1)]
    given = [scored(m, s, k, [1.0, 2.0, 1.5 + s], steps=n) for m, s in runs for k in (0, 1) for n in (1, 2)]
    given += [row(m, s, "parameters", 641_216.0, better="") for m, s in runs]
    unguided = {"soflow": {"methods": {"guidance": 1.0}}, "meanflow": {"methods": {"omega": 1.0, "kappa": 0.0}}}
    assert text_of(cited(root, given, **unguided)) == (
        "We compare MeanFlow (Geng et al., 2025) and SoFlow (Luo et al., 2026) on the 8x8 handwritten digits of scikit-learn "
        "(Alpaydin and Kaynak, 1998; Pedregosa et al., 2011). Both use the same Diffusion Transformer (Peebles and Xie, 2023), "
        "T/2 with 641,216 parameters. Training is over 240 epochs, 431,232 images seen, in batches of 128 with AdamW "
        "(Loshchilov and Hutter, 2019): learning rate 0.003, betas (0.9, 0.95), weight decay 0, warm-up over 25,600 images, "
        "averaged weights of decay 0.999, in single precision. No guidance is used. Each is trained with 2 seeds. We report "
        "Fréchet distance (Heusel et al., 2017) at 1 and 2 steps (network evaluations), from 2,000 generated images of the "
        "averaged weights with labels drawn uniformly, 2 sampling seeds each, on features of a small convolutional classifier "
        f"of the digits, which is not FID, against 1,797 real images (protocol {PROTOCOL}). Values are means over training "
        "seeds, with their sample standard deviation. Training and scoring ran on a processor with PyTorch 2.15.0 (Paszke et "
        "al., 2019), from commit 0123456789."
    )


def test_one_of_a_thing_is_singular(root: Root) -> None:
    given = [scored("soflow", 0, 0, [1.0, 2.0, 1.5], epochs=1.0)]
    text = text_of(cited(root, given))
    for words in (
        "We train SoFlow",
        "It uses a Diffusion",
        "over 1 epoch,",
        "with 1 seed.",
        "at 1 step (",
        "1 sampling seed each",
    ):
        assert words in text
    assert "Each value is of one network" in text
    for words in ("compare", "seeds", "epochs", "steps"):
        assert words not in text


def test_what_is_not_the_same_is_told_by_line(root: Root) -> None:
    given = [scored(m, s, 0, [1.0, 2.0 + s], steps=n) for m in PAPERS for s in (0, 1) for n in (1, 2)]
    given = [r for r in given if (r.method, r.train_seed) != ("soflow", 1)]
    given += [scored("flow_matching", s, 0, [1.0, 2.0 + s], steps=64) for s in (0, 1)]
    text = text_of(cited(root, given, soflow={"train": {"batch": 256}}))
    assert "in batches of 128 (Flow Matching, MeanFlow) and 256 (SoFlow)" in text
    assert "at 1 and 2 steps (network evaluations; Flow Matching also at 64)" in text
    assert "2 seeds (Flow Matching, MeanFlow) and 1 seed (SoFlow)" in text
    assert "All use the same" in text


def test_nothing_is_said_that_was_not_recorded(root: Root) -> None:
    r = row("soflow", value=1.0, protocol="p")
    save(root, [r], {r.run: {"run": r.run}})
    [paragraph] = citation_of(gather(root)).paragraphs
    words = "batches,learning rate,decay,parameters,generated,features,real images,PyTorch,seeds,guidance"
    assert not [word for word in words.split(",") if word in paragraph.text]
    assert "The settings of SoFlow were not recorded." in paragraph.notes
    assert any("name the evaluator" in note for note in paragraph.notes)


def test_guidance_failures_and_imported_weights_are_said(root: Root) -> None:
    given = [row("soflow", value=1.0), row("meanflow", value=2.0), failed("meanflow", 1)]
    imported = {
        "more": {"config": {"origin": "imported meanflow ema 0", "methods": {"meanflow": {"omega": 1.0, "kappa": 0.5}}}}
    }
    text = text_of(cited(root, given, soflow={"methods": {"guidance": 1.0}}, meanflow=imported))
    assert "Classifier-free guidance (Ho and Salimans, 2022) is used in MeanFlow" in text
    assert "all but MeanFlow" in text
    assert "Not every run gave every value: meanflow" in text


def test_a_line_without_a_value_is_not_compared(root: Root) -> None:
    text = text_of(cited(root, [row("soflow", value=1.0), failed("meanflow", 0)]))
    assert text.startswith("We train SoFlow (")
    assert "meanflow, seed 0" in text


def test_fid_is_said_of_inception_alone_and_tools_are_cited_where_used(root: Root, tmp_path: Path) -> None:
    found = cited(root, [row("soflow", value=1.0, n=50_000)], CONDITIONS | {"extractor": "inception", "samples": 50_000})
    assert "We report FID-50K (Heusel" in text_of(found)
    assert "not FID" not in text_of(found)
    assert "obukhov2020torchfidelity" in found.bibtex
    assert "parmar" not in found.bibtex
    assert "kynkaanniemi" not in found.bibtex
    clean = cited(Root(tmp_path / "b"), [row("soflow", value=1.0)], CONDITIONS | {"extractor": "clean_fid"})
    assert "parmar2022aliased" in clean.bibtex
    assert "obukhov" not in clean.bibtex


# LaTeX and BibTeX


def test_every_citation_has_its_entry_and_every_entry_is_cited(root: Root) -> None:
    save(root, realistic())
    found = citation_of(gather(root))
    used = {key for p in found.paragraphs for keys in re.findall(r"\\citep\{([^}]+)\}", p.latex) for key in keys.split(",")}
    assert used == set(re.findall(r"^@\w+\{([^,]+),$", found.bibtex, re.MULTILINE))
    assert {"luo2026soflow", "geng2025mean", "lipman2023flow", "heusel2017gans", "binkowski2018demystifying"} <= used
    assert literature.LIBRARY not in used  # these rows know no version of it


def test_bibtex_is_whole() -> None:
    text = literature.bibtex(REFERENCES.values())
    assert text.isascii()
    assert text.count("@") == len(REFERENCES)
    for entry in text.split("\n\n"):
        assert entry.count("{") == entry.count("}")
        assert {"author", "title", "year"} <= set(re.findall(r"^  (\w+) = \{", entry, re.MULTILINE))
    for reference in REFERENCES.values():
        assert re.fullmatch(r"\d{4}\.\d{4,5}|", reference.arxiv), reference.key
        assert reference.venue or reference.arxiv
        assert str(reference.year) in reference.key
        if reference.arxiv:  # nothing is published before it is written
            assert 2000 + int(reference.arxiv[:2]) <= reference.year
    keys = {key for table in (literature.METRICS,) for keys in table.values() for key in keys}
    keys |= {key for table in (literature.EXTRACTORS, literature.DATASETS) for _, keys in table.values() for key in keys}
    assert keys <= REFERENCES.keys()


def test_names_are_as_people_read_them() -> None:
    kid = REFERENCES["binkowski2018demystifying"]
    assert (kid.short, kid.who) == ("Bińkowski et al., 2018", "Bińkowski et al.")
    assert kid.authors.startswith("Mikołaj Bińkowski, Danica J. Sutherland")
    assert kid.plain_title == "Demystifying MMD GANs"
    assert REFERENCES["krizhevsky2009learning"].short == "Krizhevsky, 2009"
    assert REFERENCES["oquab2024dinov2"].authors.endswith("Théo Moutakanni and others")


def test_prose_in_both_forms() -> None:
    sentence = ("100 % of A_b", cite("geng2025mean", "luo2026soflow"), " here", cite(), ".")
    assert plain(sentence) == "100 % of A_b (Geng et al., 2025; Luo et al., 2026) here."
    assert latex(sentence) == r"100 \% of A\_b~\citep{geng2025mean,luo2026soflow} here."
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert Said({}).text == ""


# The page


def test_hostile_names_are_escaped_in_both_forms(root: Root, tmp_path: Path) -> None:
    given = [row(HOSTILE, value=1.0, run="a", dataset=HOSTILE, net="$&%", protocol=HOSTILE, device=HOSTILE)]
    page = rendered(root, given, tmp_path / "site")["cite.html"]
    assert "<script>alert" not in page.text
    [paragraph] = citation_of(gather(root)).paragraphs
    assert HOSTILE in paragraph.text
    assert not re.search(r"(?<!\\)[&%$#_]", paragraph.latex.replace("\\textasciitilde{}", ""))
    assert f"This suite knows no paper of {HOSTILE}" in paragraph.notes[0]


def test_the_page_has_paragraph_latex_and_bibtex(root: Root, tmp_path: Path) -> None:
    save(root, realistic())
    site = render(root, tmp_path / "site").parent
    found = citation_of(gather(root))
    assert (site / "data/references.bib").read_text(encoding="utf-8") == found.bibtex
    page = (site / "cite.html").read_text(encoding="utf-8")
    assert f'<p id="paragraph-1">{found.paragraphs[0].text}</p>' in page.replace("&#39;", "'")
    assert "\\citep{geng2025mean}" in page


def test_without_a_score_the_page_says_what_makes_one(root: Root, tmp_path: Path) -> None:
    page = rendered(root, [row("soflow", 0, "train_seconds", 3.0, unit="s")], tmp_path / "site")["cite.html"]
    assert "bench eval" in page.text
    assert "references.bib" not in page.text


@pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
def test_buttons_copy_what_they_name(root: Root, tmp_path: Path) -> None:
    save(root, realistic())
    site = render(root, tmp_path / "site").parent
    with browser_page(site / "cite.html", permissions=["clipboard-read", "clipboard-write"]) as page:
        page.click("button[data-copies=references]")
        until(page, "document.getElementById('copied').textContent")
        held = page.evaluate("navigator.clipboard.readText().catch(() => String(getSelection()))")
        assert held.strip() == (site / "data/references.bib").read_text(encoding="utf-8").strip()
    with browser_page(site / "cite.html", scripts=False) as page:
        assert page.locator("button:visible").count() == 0
        assert "We compare" in page.inner_text("#paragraph-1")
