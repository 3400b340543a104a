"""A site in a real browser that is cut off from everything else: Debian's chromium, by playwright.

    with browser_page(site / "index.html", width=360, dark=True) as page:
        page.click("th button")

A request that leaves the site's folder, an error in the console or in a script fails the test, at the end of the `with`.
"""

import atexit
import contextlib
import functools
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_BROWSER = (
    ""
    if BROWSER and importlib.util.find_spec("playwright")
    else "playwright is not installed" if BROWSER else "no chromium on the PATH: pages are not tried in a browser"
)  # fmt: skip


@functools.cache
def browser() -> Any:
    """One browser a process, closed at its end."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])

    def close() -> None:
        with contextlib.suppress(Exception):  # the loop may be gone by then
            found.close()
            playwright.stop()

    atexit.register(close)
    return found


@contextlib.contextmanager
def browser_page(
    path: Path | str, *, width: int = 1440, height: int = 900, dark: bool = False, scripts: bool = True, **more: Any
) -> Iterator[Any]:
    """A page of a site in a folder (or a http://127.0.0.1 address with a fragment), loaded to its end.

    The folder that holds site.json is the site. `more` goes to playwright's new_context.
    """
    url = path if isinstance(path, str) else path.resolve().as_uri()
    inside = (url.rpartition("/")[0] + "/",) if isinstance(path, str) else (_site_of(path.resolve()).as_uri() + "/",)
    context = browser().new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light",
        reduced_motion="reduce", java_script_enabled=scripts, **more,
    )  # fmt: skip
    faults: list[str] = []

    def route(request: Any) -> None:
        if request.request.url.startswith((*inside, "data:", "blob:")):
            request.continue_()
        else:
            faults.append(f"request {request.request.url}")
            request.abort()

    context.route("**/*", route)
    page = context.new_page()
    page.on("console", lambda message: message.type == "error" and faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("requestfailed", lambda request: faults.append(f"failed {request.url}"))
    try:
        page.goto(url, wait_until="load")
        yield page
        page.wait_for_timeout(50)  # what is late is heard too
    finally:
        context.close()
    assert not faults, faults


def until(page: Any, condition: str, seconds: float = 30.0) -> None:
    """Asked from outside: the policy forbids playwright's own waiting, which evaluates text in the page."""
    for _ in range(int(seconds * 20)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not in {seconds} s: {condition}")


def _site_of(path: Path) -> Path:
    return next((folder for folder in path.parents if (folder / "site.json").is_file()), path.parent)
