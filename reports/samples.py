"""Sample grids of the runs side by side: the same noises and labels in every run, a column a method, a row a step count."""

import base64
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.store import RunDirectory
from reports.table import Line, Table

PNG = b"\x89PNG\r\n\x1a\n"
SMALL = 320  # pixels; narrower grids are enlarged without smoothing


@dataclass(frozen=True)
class Picture:
    uri: str  # data:image/png;base64,...
    width: int  # pixels
    height: int
    alt: str

    @property
    def small(self) -> bool:
        return self.width < SMALL


@dataclass(frozen=True)
class Gallery:
    title: str
    heads: tuple[tuple[str, str, str], ...]  # (line, method, run), a column each
    rows: tuple[tuple[str, tuple[Picture | str, ...]], ...]  # (steps, pictures, or words in their place)
    absent: tuple[tuple[str, str, str], ...]  # (line, what is not here, command that makes it)


def galleries(tables: Iterable[Table], directories: Mapping[str, RunDirectory], commands: Mapping[str, str]) -> list[Gallery]:
    """One a data set, network and training length; tables that differ by their protocol only share one."""
    by_title: dict[str, list[Table]] = {}
    for table in tables:
        by_title.setdefault(table.title, []).append(table)
    return [_gallery(title, group, directories, commands) for title, group in by_title.items()]


def _gallery(
    title: str, tables: Sequence[Table], directories: Mapping[str, RunDirectory], commands: Mapping[str, str]
) -> Gallery:
    shown = {line.name: (line.method, run) for t in reversed(tables) for line in t.lines if (run := _shown_run(line))}
    meant = {
        (line.name, column.steps)
        for table in tables
        for line in table.lines
        for column, cell in zip(table.columns, line.cells, strict=True)
        if column.steps is not None and cell.status != "missing"
    }
    absent: dict[str, tuple[str, str, str]] = {}
    rows = []
    for step in sorted({steps for _, steps in meant if steps is not None}):
        row: list[Picture | str] = []
        for name, (_, run) in sorted(shown.items()):
            file = directories[run].samples / f"steps-{step}.png" if run in directories else None
            picture = (
                read_picture(file.read_bytes(), f"Samples of {name} in {_steps(step)}") if file and file.is_file() else None
            )
            if picture is None and (name, step) in meant:
                what = f"samples of the run {run} are" if run in directories else f"the run directory {run} is"
                absent.setdefault(name, (name, f"{what} not here", commands.get(run, "")))
            row.append(picture or ("not here" if (name, step) in meant else "–"))
        rows.append((_steps(step), tuple(row)))
    if not any(isinstance(item, Picture) for _, row in rows for item in row):
        return Gallery(title, (), (), tuple(absent.values()))
    heads = tuple((name, method, run) for name, (method, run) in sorted(shown.items()))
    return Gallery(title, heads, tuple(rows), tuple(absent.values()))


def _shown_run(line: Line) -> str | None:
    """The run of the lowest seed that gave a value; a line that only failed has no samples to show."""
    return next((cell.runs[0] for cell in line.cells if cell.values), None)


def _steps(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def read_picture(data: bytes, alt: str) -> Picture | None:
    """A PNG as a data URI with its size in pixels; None for bytes that are not a PNG."""
    if len(data) < 24 or not data.startswith(PNG):
        return None
    width, height = struct.unpack(">II", data[16:24])  # of the header chunk, which always comes first
    return Picture("data:image/png;base64," + base64.b64encode(data).decode(), width, height, alt)
