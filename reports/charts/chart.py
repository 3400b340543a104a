"""A declared chart in all its forms, and the files of the site that go with it.

chart = Chart(plot)
chart.svg, chart.spec, chart.csv
publish([chart], folder)      # charts/<name>.svg, data/<name>.csv, and the library that makes them interactive
"""

import functools
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from reports.charts.drawing import draw_together
from reports.charts.interactive import spec
from reports.charts.plots import Plot
from reports.charts.svg import draw, standalone
from reports.site.folder import SiteFolder

LIBRARY, LICENSE = "assets/plotly.min.js", "assets/plotly.LICENSE.txt"


@dataclass(frozen=True)
class Chart:
    plot: Plot

    @property
    def name(self) -> str:
        return self.plot.name

    @property
    def title(self) -> str:
        return self.plot.title

    @property
    def caption(self) -> str:
        return self.plot.caption

    @functools.cached_property
    def svg(self) -> str:
        """For a page, in the colour of its text."""
        return draw(self.plot)

    @functools.cached_property
    def spec(self) -> dict[str, Any]:
        return spec(self.plot)


def publish(charts: Sequence[Chart], folder: SiteFolder) -> None:
    """Add each chart's drawing and data, and Plotly where there is a chart. What is there already, the same, stays."""
    draw_together(charts)
    files: dict[str, bytes] = {}
    for chart in charts:
        drawing, data = standalone(chart.svg), chart.plot.csv()
        texts = {f"charts/{chart.name}.svg": drawing, f"data/{chart.name}.csv": data}
        files |= {place: text.encode(errors="replace") for place, text in texts.items()}  # names may be no UTF-8
    if charts:
        files |= {LIBRARY: _of_plotly("plotly.min.js"), LICENSE: _of_plotly("LICENSE.txt")}
    for place, content in files.items():
        if folder.files.get(place) != content:
            folder.add(place, content)


@functools.cache
def _of_plotly(name: str) -> bytes:
    """A file of the package plotly, found without importing it. Raises BenchError where there is none."""
    try:
        files = importlib.metadata.files("plotly") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = next((Path(str(file.locate())) for file in files if file.name == name), None)
    if found is None or not found.is_file():
        raise BenchError(
            f"No {name} of the package plotly is installed",
            "plotly as its wheel has it: its script makes the charts of the site interactive",
            "Install the project again: `pip install -e .`.",
        )
    return found.read_bytes()
