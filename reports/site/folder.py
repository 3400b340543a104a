"""The folder a site is written to: ours alone, without what an earlier site left.

    folder = SiteFolder(out)              # refuses a folder with other people's files
    folder.add("runs/run-a.html", text)   # nothing is written yet
    folder.publish()                      # index.html last

A page that can not be rendered leaves the last good site as it was; a crash in `publish`, its index.html among some new pages.
"""

import json
from pathlib import Path, PurePosixPath

from bench.errors import BenchError
from bench.store import explain_os_errors, write_atomic

MARKER = "site.json"  # says whose folder it is, and which files are the site's
SUITE, FORMAT = "one-step-bench", 1


class SiteFolder:
    """Files by their place in the site, in memory until they are published.

    `force`: write into a folder that holds other files; those stay. Raises BenchError where it may not be written.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        self.files: dict[str, bytes] = {}
        self.before = listed(path)
        if self.before is None and not force:
            raise BenchError(
                f"{path} is not empty, and no report of this suite",
                "a new or empty folder, or one that `bench report` wrote",
                "Name another with --out DIR, or say --force: what else is in it stays, what has a page's name is replaced.",
            )

    def add(self, name: str, content: str | bytes | Path) -> str:
        """Take a file into the site: text, bytes, or another file to copy. Returns its place, "runs/run-a.html"."""
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or not place.parts or name == MARKER:
            raise ValueError(f"{name!r} is no place inside the site")
        if name in self.files:
            raise ValueError(f"two files of the site are called {name!r}")
        # A file's name may hold bytes that are no UTF-8, and a page may name that file: they become "?".
        self.files[name] = content.encode(errors="replace") if isinstance(content, str) else _bytes_of(content)
        return name

    def publish(self) -> None:
        """Write what differs from what is there, index.html last, and delete what only the earlier site had."""
        earlier = set(self.before or ())
        self._check_links(earlier | set(self.files))
        self._mark(earlier | set(self.files))  # so that after a crash the next site knows what to clear away
        for name in sorted(self.files, key=lambda name: (name == "index.html", name)):
            target = self.path / name
            with explain_os_errors(target):
                same = target.is_file() and target.read_bytes() == self.files[name]
            if not same:
                write_atomic(target, self.files[name])
        with explain_os_errors(self.path):
            for name in earlier - set(self.files):
                (self.path / name).unlink(missing_ok=True)
                for folder in list(PurePosixPath(name).parents)[:-1]:
                    if (self.path / folder).is_dir() and not any((self.path / folder).iterdir()):
                        (self.path / folder).rmdir()
        self._mark(set(self.files))

    def _check_links(self, names: set[str]) -> None:
        """Raises BenchError where a link among the site's folders leads out of it: nothing is written or deleted there."""
        home = self.path.resolve()
        for folder in sorted({str(PurePosixPath(name).parent) for name in names}):
            if not (self.path / folder).resolve().is_relative_to(home):
                given = f"{self.path / folder} leads out of {self.path}"
                raise BenchError(given, "a folder of the site's own", "Delete that link, or name another with --out DIR.")

    def _mark(self, names: set[str]) -> None:
        record = {"suite": SUITE, "format": FORMAT, "files": sorted(names)}
        write_atomic(self.path / MARKER, json.dumps(record, indent=1) + "\n")


def listed(path: Path) -> list[str] | None:
    """The files of the site that is there; none for a new or empty folder; None where the folder is not ours."""
    with explain_os_errors(path):
        if not path.exists():
            return []
        present = sorted(child.name for child in path.iterdir())
    if not present:
        return []
    try:
        record = json.loads((path / MARKER).read_text(encoding="utf-8"))
        names = record["files"]
        ours = record["suite"] == SUITE and all(isinstance(name, str) and _inside(name) for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        with explain_os_errors(path):
            return ["index.html"] if _one_page(path, present) else None
    return list(names) if ours else None


def _bytes_of(content: bytes | Path) -> bytes:
    if isinstance(content, bytes):
        return content
    try:
        return content.read_bytes()
    except OSError as error:
        given, remedy = f"Cannot read {content} ({error.strerror})", "Make the report again when the folder is at rest."
        raise BenchError(given, "files that stay while the report is made", remedy) from error


def _inside(name: str) -> bool:
    place = PurePosixPath(name)
    return not place.is_absolute() and ".." not in place.parts


def _one_page(path: Path, present: list[str]) -> bool:
    """What this suite wrote before its report had several pages."""
    page = path / "index.html"
    return present == ["index.html"] and "<title>One-step generators compared</title>" in page.read_text(errors="replace")
