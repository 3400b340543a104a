"""The committed example is what this suite makes of the committed rows."""

import re
from pathlib import Path

import pytest

from bench.store import Root
from reports.render import render

EXAMPLE = Path(__file__).resolve().parent.parent / "docs" / "example"
AGAIN = "python docs/example.py writes it again; look at it, then commit it"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(Root(EXAMPLE), tmp_path_factory.mktemp("example") / "site").parent


def test_it_has_the_files_that_a_report_has(site: Path) -> None:
    made, kept = (
        {path.relative_to(of).as_posix() for path in of.rglob("*") if path.is_file()} for of in (site, EXAMPLE / "site")
    )
    assert made == kept, AGAIN


def test_its_tables_and_pages_of_runs_are_of_today(site: Path) -> None:
    """Pages with charts have matplotlib's paths in them, which differ between its versions: not compared."""
    places = ["index.html", "cite.html", "compare.html", "provenance.html", *(f"runs/{p.name}" for p in site.glob("runs/*"))]
    differing = [place for place in places if (site / place).read_bytes() != (EXAMPLE / "site" / place).read_bytes()]
    assert not differing, AGAIN


def test_it_names_no_place_on_the_machine_it_was_made_on() -> None:
    """No folder of a user, and no temporary one: what is absolute in it is a system's own, such as a package's."""
    places = re.compile(r"/(home|root|tmp|Users)/")
    for file in EXAMPLE.rglob("*"):
        if file.suffix in (".html", ".json", ".toml", ".csv", ".md", ".txt", ".jsonl"):
            text = file.read_text()
            assert str(EXAMPLE.parent.parent) not in text, file
            assert not places.search(text), file
