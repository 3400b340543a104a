"""Pictures of the example site as a browser shows it: docs/screenshots/PAGE-WIDTH-light|dark.png.

python docs/screenshots.py
"""

import io
import sys
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from site_browser import NO_BROWSER, browser_page  # noqa: E402

PAGES = ("index.html", "quality.html", "samples.html", "cost.html", "methods/soflow.html", "compare.html")
TALLEST = 2400  # pixels; what is below is left out


def main() -> None:
    if NO_BROWSER:
        sys.exit(NO_BROWSER)
    out = DOCS / "screenshots"
    out.mkdir(exist_ok=True)
    for place in PAGES:
        for width in (360, 1440):
            for dark in (False, True):
                with browser_page(DOCS / "example" / "site" / place, width=width, dark=dark) as page:
                    height = min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
                    page.set_viewport_size({"width": width, "height": height})
                    page.wait_for_timeout(1500)  # charts are drawn when they come into sight
                    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                name = f"{place.removesuffix('.html').replace('/', '-')}-{width}-{'dark' if dark else 'light'}.png"
                # Not the median cut: it drops the colours of methods, of which there are few pixels.
                few = taken.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
                few.save(out / name, optimize=True)
                print(name, f"{(out / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
