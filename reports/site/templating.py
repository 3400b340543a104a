"""Jinja as the site uses it: everything is escaped that it is not told is ours, and a name without a value fails the build.

html = page("quality.html", "quality.html.j2", {"charts": charts})
"""

import functools
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.cells import facts, spread_texts
from reports.differences import differences_grid
from reports.site.exports import NAMES, budget_name, certificate_name, differences_name, sheet_name
from reports.site.links import anchor, method_page, run_page
from reports.site.table_views import claim_anchor, row_place

TEMPLATES = Path(__file__).resolve().parent / "templates"
ASSETS = Path(__file__).resolve().parent / "assets"
MENU = (
    ("index.html", "Leaderboard"),
    ("quality.html", "Quality"),
    ("cost.html", "Cost"),
    ("samples.html", "Samples"),
    ("training.html", "Training"),
    ("compare.html", "Two runs"),
    ("provenance.html", "Provenance"),
    ("cite.html", "Cite"),
)


@functools.lru_cache
def environment(up: str = "") -> Environment:
    """`up`: from the folder of a page to the site's root, "" or "../"; links to runs and methods begin with it."""
    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    jinja.filters["svg"] = lambda chart: Markup(chart.svg)  # ours: matplotlib escapes the names in it
    # A name that is no UTF-8 has "?" in its place, here as in the pages.
    jinja.filters["urlencode"] = lambda text: quote(str(text), errors="replace")
    jinja.filters["run_link"] = lambda run: up + run_page(run)
    jinja.filters["method_link"] = lambda method: up + method_page(method)
    jinja.filters["cell_link"] = lambda cell: up + row_place(cell)
    jinja.filters["claim_anchor"] = claim_anchor
    jinja.filters |= {"sheet_name": sheet_name, "budget_name": budget_name, "differences": differences_grid}
    jinja.filters |= {"certificate_name": certificate_name, "differences_name": differences_name}
    jinja.filters["protocol_link"] = lambda name: f"{up}provenance.html#{anchor(name, 'protocol')}"
    jinja.filters["protocol_anchor"] = lambda name: anchor(name, "protocol")
    jinja.globals |= {"facts": facts, "spread_texts": spread_texts, "up": up, "menu": MENU, "table_forms": NAMES}
    return jinja


def page(place: str, template: str, context: dict[str, Any]) -> str:
    """The HTML of the page at `place`. Raises UndefinedError for a value that the template wants and nobody gave."""
    return environment("../" * place.count("/")).get_template(template).render(context | {"place": place})
