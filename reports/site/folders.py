"""The folders that a report was made from: their names on its pages, and on which machines their rows were measured.

    names_of([Root(Path("/data/a")), Root(Path("/data/b"))])   # ["a", "b"]

No name says where on this machine a folder lies: a site may be put anywhere.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.rows import Row
from bench.store import Root
from reports.lines import grouped
from reports.site.merge import Merged
from reports.site.reading import LeftOut

UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Machine:
    """Where a row was measured, as far as that was recorded."""

    device: str
    processor: str
    platform: str
    versions: str  # "bench 0.1.0, torch 2.9.0"
    folders: tuple[str, ...]  # that have the row's run

    @property
    def text(self) -> str:
        """Device and processor; the device alone where it is that processor, also with fewer of its threads."""
        same = self.processor == UNKNOWN or _name(self.device) == _name(self.processor)
        return self.device if same else f"{self.device}; {self.processor}"


@dataclass(frozen=True)
class Folder:
    name: str
    root: Root
    runs: int
    rows: int  # of these runs; one that several folders have counts in each
    machines: tuple[str, ...]

    @property
    def emptiness(self) -> LeftOut | None:
        """What to say of a folder that adds nothing."""
        if self.runs:
            return None
        return LeftOut(self.name, "results/", "holds nothing that can be shown", "Make results there: `bench run --root DIR`.")


def _name(processor: str) -> str:
    """Without the threads, which stand at the end of a CPU's name."""
    return re.sub(r" \([^()]*threads?[^()]*\)$", "", processor)


def machine_of(row: Row, description: Mapping[str, Any], folders: tuple[str, ...]) -> Machine:
    """The circumstances of the row's measurement, else those of its run."""
    recorded = description.get("measurements")
    found = recorded.get(row.protocol) if isinstance(recorded, Mapping) else None
    found = found if isinstance(found, Mapping) else description
    versions = found.get("versions")
    listed = ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, Mapping) else UNKNOWN
    processor, platform = (str(found.get(key) or UNKNOWN) for key in ("processor", "platform"))
    return Machine(row.device, processor, platform, listed, folders)


def folders_of(roots: Sequence[Root], merged: Merged) -> tuple[Folder, ...]:
    rows = {run: found for (run,), found in grouped(merged.rows, ["run"]).items()}
    machines = {
        run: dict.fromkeys(machine_of(row, merged.descriptions.get(run, {}), ()).text for row in found)
        for run, found in rows.items()
    }
    folders = []
    for name, root in zip(names_of(roots), roots, strict=True):
        runs = [run for run, origins in merged.origins.items() if name in origins]
        known = sorted({machine for run in runs for machine in machines.get(run, ())})
        folders.append(Folder(name, root, len(runs), sum(len(rows.get(run, ())) for run in runs), tuple(known)))
    return tuple(folders)


def distinct(roots: Sequence[Root]) -> list[Root]:
    """Each folder once, however it is written."""
    found: dict[Path, Root] = {}
    for root in roots:
        found.setdefault(root.path.resolve(), root)
    return list(found.values())


def names_of(roots: Sequence[Root]) -> list[str]:
    """The last part of each path, with as many before it as tell them apart."""
    parts = [root.path.resolve().parts for root in roots]
    names = []
    for i, own in enumerate(parts):
        others = parts[:i] + parts[i + 1 :]
        length = next((n for n in range(1, len(own)) if all(own[-n:] != other[-n:] for other in others)), len(own))
        names.append("/".join(part.strip("/") for part in own[-length:]) or "/")
    return names
