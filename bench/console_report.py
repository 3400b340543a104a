"""What `bench report` does and prints: writes the site, says what was left out, shows, serves, prints and watches it."""

import contextlib
import re
import threading
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.errors import BenchError, SuiteError
from bench.store import Root, check_place
from reports.site.watch import State, state_of

if TYPE_CHECKING:
    from reports.render import Site

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)  # names are text, whatever is in them
beside = Console(highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=True)  # stdout is for the paths alone


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The command line of `bench report`."""

    folders: tuple[Path, ...]
    site: Path
    force: bool
    watch: bool
    interval: float | None  # seconds
    open: bool
    serve: bool
    port: int | None
    pdf: Path | None


def make_report(wanted: Wanted) -> None:
    """Raises BenchError for mistakes, and where nothing can be read."""
    check(wanted)
    roots = [Root(folder) for folder in wanted.folders]
    before = state_of(roots)  # so that what changes during the first rendering is seen
    with served(wanted) as address:
        site = built(roots, wanted)
        if wanted.pdf:
            from reports.site.pdf import write_pdf

            assert site, "--pdf is not for --watch"
            write_pdf(site.files, wanted.pdf)
            out.print(str(wanted.pdf))
        if wanted.open:
            open_page(address or (wanted.site / "index.html").resolve().as_uri())
        if wanted.watch:
            keep_watching(roots, wanted, before)
        elif address:
            threading.Event().wait()  # until Ctrl-C


def check(wanted: Wanted) -> None:
    """Raises BenchError before anything is read or written."""
    for folder in wanted.folders:
        if not folder.is_dir():
            known = "a folder with results/ in it, as `bench run --root` left it"
            raise BenchError(f"{folder} is no folder", known, "Name it as in: bench report FOLDER OTHER")
        if folder.name == "results" and list(folder.glob("*.parquet")):
            given = f"{folder} holds the result files themselves"
            raise BenchError(given, "the folder above it", f"For example: bench report {folder.parent}")
    if wanted.pdf and wanted.watch:
        raise BenchError("--pdf with --watch", "one of the two", "Make the PDF when all is done, without --watch.")
    if wanted.port is not None and not wanted.serve:
        raise BenchError(f"--port {wanted.port} without --serve", "--port with --serve", "Add --serve, or leave --port out.")
    if wanted.interval is not None and not wanted.watch:
        given = f"--interval {wanted.interval:g} without --watch"
        raise BenchError(given, "--interval with --watch", "Add --watch, or leave --interval out.")
    if wanted.pdf:
        check_place(wanted.pdf)


def built(roots: list[Root], wanted: Wanted) -> "Site | None":
    """Written, and said; None where there is nothing to show yet and --watch waits for it."""
    from reports.render import build
    from reports.site.folder import SiteFolder

    SiteFolder(wanted.site, force=wanted.force)  # a folder of somebody else's is a mistake also when there is nothing to show
    try:
        site = build(roots, wanted.site, force=wanted.force)
    except BenchError as error:
        if not wanted.watch:
            raise
        say(f"{error.given}; waiting for them")
        return None
    out.print(str(site.index))
    for text in remarks(site):
        say(text, style="yellow")
    return site


def remarks(site: "Site") -> list[str]:
    """What the pages have twice, and what they have not."""
    return [*(conflict.text for conflict in site.conflicts), *(item.text for item in site.left_out)]


def say(text: str, style: str = "") -> None:
    """Beside the path, without what would steer the terminal: names may hold anything."""
    beside.print(re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "?", text), style=style)


def open_page(address: str) -> None:
    if not webbrowser.open(address):
        say(f"No browser could be opened here; the page is {address}")


@contextlib.contextmanager
def served(wanted: Wanted) -> Iterator[str]:
    """Serve the site in the background; its address, "" without --serve."""
    if not wanted.serve:
        yield ""
        return
    from reports.site.serve import HERE, server

    with server(wanted.site, 8000 if wanted.port is None else wanted.port) as serving:
        address = f"http://{HERE}:{serving.server_port}/"
        threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        try:
            say(f"Serving {wanted.site} at {address} until Ctrl-C")
            yield address
        finally:
            serving.shutdown()


def keep_watching(roots: list[Root], wanted: Wanted, before: State) -> None:
    """Render again whenever something has changed, until Ctrl-C. What can not be rendered now is said, and tried again."""
    from reports.render import build

    interval = 2.0 if wanted.interval is None else wanted.interval
    say(f"Watching; rendered again when results change (a look every {interval:g} s), until Ctrl-C")
    told: list[str] = []
    while True:
        time.sleep(interval)
        if (state := state_of(roots)) == before:
            continue
        before = state
        try:
            site = build(roots, wanted.site, force=wanted.force)
            news = [str(site.index), *remarks(site)]
        except (SuiteError, OSError) as error:
            news = [error.given if isinstance(error, BenchError) else str(error)]
        for text in news[:1] + [text for text in news[1:] if text not in told]:
            say(f"{time.strftime('%H:%M:%S')} {text}")
        told = news
