"""A declared chart in all its forms, and the files of the site that go with it.

chart = Chart(plot)
chart.svg, chart.spec, chart.csv
publish([chart], folder)      # charts/<name>.svg, data/<name>.csv, and the library that makes them interactive
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.charts.drawing import draw_together
from reports.charts.interactive import spec
from reports.charts.plots import Plot
from reports.charts.svg import draw, standalone
from reports.site.folder import SiteFolder

PLOTLY = Path(__file__).parent / "plotly"  # its README says where it comes from
LIBRARY = {"assets/plotly.min.js": PLOTLY / "plotly-basic.min.js", "assets/plotly.LICENSE.txt": PLOTLY / "LICENSE.txt"}


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
        files |= {place: file.read_bytes() for place, file in LIBRARY.items()}
    for place, content in files.items():
        if folder.files.get(place) != content:
            folder.add(place, content)
