"""results/ and runs/ of one or several folders -> a static site: pages, style, scripts, tables, charts as files, in one folder.

    render(Root(Path(".")), Path("site"))                       # site/index.html
    site = build([Root(Path("a")), Root(Path("b"))], Path("site"))   # and what was left out of it

Reads the result rows, and of each run that is here its training log and sample grids. The same input gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.store import Root
from reports.site import pages
from reports.site.content import gather
from reports.site.folder import SiteFolder
from reports.site.merge import Conflict
from reports.site.reading import LeftOut


@dataclass(frozen=True)
class Site:
    """What was written, and what there is to say of it."""

    index: Path
    files: Mapping[str, bytes] = field(repr=False)  # by place in the site
    conflicts: tuple[Conflict, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def build(roots: Sequence[Root], out: Path, *, force: bool = False) -> Site:
    """Write the site. Raises BenchError when no folder has a result, or `out` is not ours; then nothing of it is written."""
    folder = SiteFolder(out, force=force)
    content = gather(*roots)
    for add in pages.PAGES:
        add(content, folder)
    folder.publish()
    return Site(out / "index.html", folder.files, content.conflicts, content.left_out)


def render(root: Root, out: Path, *, force: bool = False) -> Path:
    """The same of one folder. Returns the path of the site's index.html."""
    return build([root], out, force=force).index
