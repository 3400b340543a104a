"""Training in progress: runs with a log and no score are drawn and listed, also where nothing was scored at all."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.store import Root
from reports.render import build
from reports.site.content import gather
from result_rows import described, row, save
from site_pages import Page, leading_nowhere, pages_of

RUN = "digits-soflow-T-2-s7-abc"
GROUP = "digits, T/2, 240 epochs: no scores yet"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def training(root: Root, run: str = RUN, *, state: str = "running", provenance: Any = None, **settings: Any) -> None:
    """A run directory as it is while the run trains: a status, provenance and two lines of the log."""
    directory = root.run(run)
    directory.path.mkdir(parents=True)
    directory.write_status(state, images=256, total=1024)
    given = {"dataset": "digits", "net": "T/2", "epochs": 240.0, "methods": ["soflow"], "seed": 7} | settings
    description = described(run, "soflow") | {"config": {"run": given}} if provenance is None else provenance
    directory.provenance.write_text(json.dumps(description))
    lines = [{"images": 128 * i, "epoch": i / 2, "mse": 1.0 / i, "grad_norm": 2.0 / i} for i in (1, 2)]
    directory.train_log.write_text("".join(json.dumps(line) + "\n" for line in lines))


def site_of(root: Root) -> dict[str, Page]:
    out = root.path / "site"
    build([root], out)
    assert leading_nowhere(out) == []
    return pages_of(out)


def curves(page: Page) -> list[str]:
    """The drawings of the mse."""
    return re.findall(r'<svg[^>]*aria-labelledby="mse-.*?</svg>', page.text, flags=re.DOTALL)


def test_a_run_that_trains_is_drawn_and_listed_beside_those_with_scores(root: Root) -> None:
    save(root, [row()])
    training(root, row().run, state="finished")
    training(root)
    site = site_of(root)
    assert len(curves(site["training.html"])) == 2
    [text] = [part for part in site["training.html"].text.split("<li>") if f">{RUN}</a>" in part]
    assert "running, no result rows" in text
    assert "epoch 1" in text
    assert GROUP in site["training.html"].text
    assert "1 run has a training log and no score" in site["index.html"].text
    assert "Nothing was scored yet" not in site["index.html"].text


def test_nothing_but_training_makes_a_whole_site(root: Root) -> None:
    training(root)
    training(root, "digits-meanflow-T-2-s0-abc", methods=["meanflow"], seed=0)
    site = site_of(root)
    for place in ("index", "quality", "cost", "samples", "training", "provenance", "compare", "cite"):
        assert f"{place}.html" in site
    [curve] = curves(site["training.html"])
    assert ">soflow</text>" in curve
    assert ">meanflow</text>" in curve
    assert "Nothing was scored yet. 2 runs have" in site["index.html"].text
    assert "<code>bench eval</code>" in site["index.html"].text
    assert "run of soflow" in site[f"runs/{RUN}.html"].text
    assert "0 methods" not in site["index.html"].text


def test_a_run_with_costs_and_no_score_is_drawn_as_its_rows_say(root: Root) -> None:
    costs = row(metric="train_seconds", value=3.0, run=RUN, unit="s")
    save(root, [costs])
    training(root, provenance={})
    [group] = gather(root).unscored
    assert group.title == GROUP
    assert [found.method for found in group.runs] == ["soflow"]
    assert len(curves(site_of(root)["training.html"])) == 1


def test_groups_differ_by_task_and_equal_seeds_by_name(root: Root) -> None:
    training(root)
    training(root, "again")
    training(root, "other", dataset="shapes", epochs=1)
    groups = gather(root).unscored
    assert [group.title for group in groups] == [GROUP, "shapes, T/2, 1 epoch: no scores yet"]
    assert list(groups[0].logs) == ["again", RUN]
    assert [found.line for found in groups[0].runs] == ["soflow [again]", f"soflow [{RUN}]"]


@pytest.mark.parametrize("provenance", [{}, {"config": {}}, {"config": {"run": {"methods": "soflow", "epochs": "many"}}}])
def test_settings_that_were_not_recorded_hide_no_curve(provenance: Any, root: Root) -> None:
    training(root, provenance=provenance)
    assert len(curves(site_of(root)["training.html"])) == 1


def test_a_directory_without_a_log_alone_is_nothing_to_show(root: Root) -> None:
    training(root)
    root.run(RUN).train_log.unlink()
    with pytest.raises(BenchError, match="No results"):
        gather(root)
