"""The site as one PDF, printed by a browser that is on this machine: the pages one after the other, without their scripts.

    write_pdf(site.files, Path("report.pdf"))

The browser is cut off from the network, and sees copies of the site's styles and pictures only.
"""

import os
import posixpath
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError, RunFailed
from bench.store import replacing

BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge",
    "microsoft-edge-stable", "msedge",
)  # fmt: skip
METHODS = "methods/"  # all pages in it
PAGES = (
    *("index.html", "quality.html", "cost.html", "samples.html", "training.html"),
    *(METHODS, "provenance.html", "cite.html"),
)
SHOWN = (".css", ".png", ".svg")  # what pages show beside their text
PATIENCE = 300  # seconds
OPTIONS = (
    "--headless", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer", "--disable-extensions", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
REFERRING = re.compile(r'(\s(?:id|for|headers|aria-labelledby|aria-describedby|aria-controls))="([^"]*)"')
LINK = re.compile(r'(\s(?:xlink:)?href)="([^"]*)"')
STYLE = re.compile(r'<link rel="stylesheet" href="([^"]*)">\s*')
CLOSED = re.compile(r"(<details\b(?=[^>]*\sdata-prints\b)(?![^>]*\sopen\b)[^>]*)>")  # what pages open for paper


def write_pdf(files: Mapping[str, bytes], path: Path) -> None:
    """Raises BenchError where there is no browser, RunFailed where it made no PDF; what was at `path` then stays."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise BenchError(
            "No browser on the PATH can print to a PDF",
            f"one of {', '.join(BROWSERS)}",
            "Install one (on Debian: apt install chromium), or print the pages from your own browser: they were written.",
        )
    with tempfile.TemporaryDirectory(prefix="bench-pdf-", ignore_cleanup_errors=True) as folder, replacing(path) as target:
        site = Path(folder) / "site"
        for name, data in files.items():
            if name.endswith(SHOWN):
                (site / name).parent.mkdir(parents=True, exist_ok=True)
                (site / name).write_bytes(data)
        page = site / "document.html"
        page.write_text(document(files), encoding="utf-8")
        sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []  # which root can not have
        profile = f"--user-data-dir={folder}/profile"
        _print([browser, *OPTIONS, *sandbox, profile, f"--print-to-pdf={target.absolute()}", page.as_uri()])
        if not target.is_file() or not target.read_bytes().startswith(b"%PDF"):
            raise RunFailed(f"{browser} ended without a PDF; print the pages from a browser")


def _print(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"{command[0]} made no PDF in {PATIENCE} seconds; print the pages from a browser") from None
    except OSError as error:
        raise RunFailed(f"{command[0]} could not be started ({error.strerror})") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it did not say why"])[-1]
        raise RunFailed(f"{command[0]} made no PDF ({last}); print the pages from a browser")


# One document


def document(files: Mapping[str, bytes], places: Sequence[str] = PAGES) -> str:
    """The pages in one, each beginning a sheet of paper. Links among them stay, links to what is not in it are text."""
    texts = {place: files[place].decode() for place in among(files, places)}
    first = next(iter(texts.values()))
    head, _, _ = first.partition("</head>")
    found = dict.fromkeys(_from_root(place, style) for place, text in texts.items() for style in STYLE.findall(text))
    styles = "\n".join(f'<link rel="stylesheet" href="{style}">' for style in found)
    head = STYLE.sub("", _without_scripts(head)) + styles
    paper = "<style>@page { size: A4 landscape; margin: 12mm; }</style>"
    mains = "".join(_section(place, text, texts) for place, text in texts.items())
    return f"{head}\n{paper}\n</head>\n<body>\n{mains}</body>\n</html>\n"


def among(files: Iterable[str], places: Sequence[str] = PAGES) -> list[str]:
    """The pages that `places` names, in its order; a folder is all pages in it, by name."""
    pages = sorted(name for name in files if name.endswith(".html"))
    return [page for place in places for page in (pages if place.endswith("/") else [place]) if page.startswith(place)]


def _section(place: str, text: str, texts: Mapping[str, str]) -> str:
    """What is in the page's <main>, with names of its own: two pages may use the same."""
    _, found, rest = text.partition('<main id="main">')
    if not found:
        raise ValueError(f"{place} has no main part")
    main = _without_scripts(rest.partition("</main>")[0])
    name = _name(place)
    main = REFERRING.sub(lambda m: f'{m[1]}="{" ".join(f"{name}-{word}" for word in m[2].split())}"', main)
    main = LINK.sub(lambda m: _link(m, place, texts), main).replace("url(#", f"url(#{name}-")
    main = CLOSED.sub(r"\1 open>", main)
    return f'<section id="{name}" style="break-before: page">\n{main}\n</section>\n'


def _without_scripts(text: str) -> str:
    return re.sub(r"<script\b.*?</script>\s*", "", text, flags=re.DOTALL)


def _name(place: str) -> str:
    """Ends as no slug does: what is in the page of "a" is called like nothing of the page of "a-b"."""
    return f"page-{place}"


def _from_root(place: str, link: str) -> str:
    """Where a link of the page at `place` leads, seen from the site's root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), link))


def _link(found: re.Match[str], place: str, texts: Mapping[str, str]) -> str:
    """The attribute, as it is right in the document; nothing where its target is not in it."""
    page, _, fragment = found[2].partition("#")
    if page.startswith("https://"):
        return found[0]
    page = _from_root(place, page) if page else place
    target = _name(page) if page in texts else ""
    if not target or "=" in fragment:
        return ""
    return f'{found[1]}="#{target}{f"-{fragment}" if fragment else ""}"'
