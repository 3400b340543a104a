"""Write the pages of docs/speed/ and the speed table of the README from the committed result files.

python docs/speed_tables.py
"""

from pathlib import Path

from bench.speed import results
from reports.speed import markdown, panels, table

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- speed: written by docs/speed_tables.py -->", "<!-- end of speed -->"
SHOWN = ("variant", "method", "best ms", "× FM", "gain", "images/s", "GB", "MFU")  # columns of the README


def pages() -> dict[Path, str]:
    """Every page, and the README, as they should be."""
    found, shown = {}, []
    for path in results.files(ROOT / "docs" / "speed"):
        frame, description = results.read(path)
        found[path.parent / "README.md"] = markdown(frame, description)
        where = path.parent.relative_to(ROOT)
        panel = [panel for panel in panels(frame) if panel.title.startswith("Training step")][-1]  # of the largest net
        shown += ["", f"{panel.title}, {description['machine']['device']} ([all of it]({where}/README.md)):", ""]
        shown += table(panel, SHOWN)
    readme = ROOT / "README.md"
    text = readme.read_text()
    head, tail = text[: text.index(START) + len(START)], text[text.index(END) :]
    found[readme] = head + "\n".join(["", *shown, "", tail])
    return found


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
        print(path.relative_to(ROOT))
