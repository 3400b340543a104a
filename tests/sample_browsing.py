"""The page of sample grids in a browser: a site that has one, and what a test does and sees there."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from bench.store import Root
from result_rows import row
from sample_grids import samples_site, three_runs, write_run
from site_browser import until


def sample_pages(folder: Path) -> Path:
    """Three methods in one gallery; in another, grids of no known layout."""
    root = Root(folder / "root")
    given = three_runs(root)
    old = BytesIO()
    Image.new("RGB", (60, 40), "navy").save(old, "png")
    write_run(root, "old", dict.fromkeys((1, 2), old.getvalue()))
    given += [row("old", dataset="older", steps=steps) for steps in (1, 2)]
    return samples_site(root, given, folder / "site").parent


def seen(sample: Any) -> tuple[int, int, int]:
    """The colour in the middle of what the screen shows there."""
    with Image.open(BytesIO(sample.screenshot())) as image:
        pixel = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


def fragment(page: Any) -> str:
    return str(page.evaluate("location.hash"))


def told(page: Any) -> str:
    return str(page.locator("#zoom-title").text_content()).replace("\u00a0", " ")


def comes_back(page: Any, facts: dict[str, str]) -> None:
    """The focus is at what was looked at last; the browser tells the page that the dialog was closed a moment later."""
    found = "(({className, dataset}) => ({className, ...dataset}))(document.activeElement)"
    wanted = f"(facts => JSON.stringify(Object.entries(facts).sort()))({json.dumps(facts)})"
    until(page, f"JSON.stringify(Object.entries({found}).sort()) === {wanted}")
