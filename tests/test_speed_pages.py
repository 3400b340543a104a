"""Every speed number in README and docs is in a committed result file: the pages are what those files give."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_and_the_readme_are_what_the_result_files_give() -> None:
    pages = script("speed_tables").pages()
    assert len(pages) > 1, "a device at least, and the README"
    for path, text in pages.items():
        assert path.read_text() == text, f"{path.name}: run python docs/speed_tables.py"


@pytest.mark.parametrize("name", ["scaling", "step_parts"])
def test_a_page_is_what_its_numbers_give(name: str) -> None:
    numbers = json.loads((DOCS / f"{name}.json").read_text())
    assert (DOCS / f"{name}.md").read_text() == script(name).page(numbers), f"run python docs/{name}.py --write"


def test_no_file_of_results_says_whose_machine_it_was() -> None:
    for path in [*DOCS.glob("*.json"), *DOCS.glob("speed/*/README.md")]:
        text = path.read_text()
        assert "/home/" not in text, path
        assert "/tmp/" not in text, path
