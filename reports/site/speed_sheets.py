"""What `bench speed` left in a root, for the cost page: a sheet a result file, each with the tables of reports.speed.

for sheet in speed_sheets([root.speed]): print(sheet.title, [panel.title for panel in sheet.panels], sheet.problem)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.speed.results import files, read
from reports.grids import Grid
from reports.site.exports import name_of
from reports.speed import Panel, panels


@dataclass(frozen=True)
class SpeedSheet:
    title: str  # the device
    folder: str  # its name below speed/
    facts: tuple[tuple[str, str], ...]  # when, at which commit, by which command, on what
    panels: tuple[Panel, ...]
    noisy: int = 0  # rows whose rounds scatter too much
    rows: int = 0
    problem: str = ""  # why it can not be read

    @property
    def grids(self) -> list[tuple[str, Panel, Grid]]:
        """(name of its files, panel, the same as text for them)."""
        found = []
        for panel in self.panels:
            grid = Grid(f"{panel.title}, {self.title}", panel.heads, panel.lines, panel.notes)
            # The command is part of the name: two roots may have measured one device.
            found.append((name_of("speed", grid.title, self.folder, *(text for _, text in self.facts)), panel, grid))
        return found


def speed_sheets(folders: Iterable[Path]) -> list[SpeedSheet]:
    """By folder and name, equal ones once. What can not be read has a problem, and no panels."""
    return list(dict.fromkeys(_sheet(path) for folder in folders if folder.is_dir() for path in files(folder)))


def _sheet(path: Path) -> SpeedSheet:
    name = path.parent.name
    try:
        frame, description = read(path)
        found = tuple(panels(frame))
    except BenchError as error:
        return SpeedSheet(name, name, (), (), problem=str(error.given).replace(str(path), f"speed/{name}/{path.name}"))
    machine = _table(description.get("machine"))
    title = str(machine.get("device") or name)
    return SpeedSheet(title, name, tuple(_facts(description, machine)), found, int(frame["noisy"].sum()), len(frame))


def _facts(description: Mapping[str, Any], machine: Mapping[str, Any]) -> list[tuple[str, str]]:
    dirty = " (work tree changed)" if description.get("dirty") else ""
    known = {str(key): str(value) for key, value in machine.items() if value not in (None, "") and key != "device"}
    versions = _table(description.get("versions"))
    facts = [
        ("measured", str(description.get("started_at") or "")),
        ("commit", f"{str(description.get('commit') or '')[:10]}{dirty}"),
        ("command", str(description.get("command") or "")),
        ("as found", ", ".join(f"{key} {value}" for key, value in known.items())),
        ("versions", ", ".join(f"{key} {value}" for key, value in versions.items())),
    ]
    return [(name, text) for name, text in facts if text]


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
