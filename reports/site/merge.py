"""Several result folders -> one set of runs: what is the same in two of them once, what contradicts itself told apart.

    merged = merge(sources)
    merged.rows, merged.descriptions, merged.directories, merged.conflicts

Under one name, two folders hold the same run when their settings and data are equal, no row of one contradicts a row of the
other, and what only one of them has was measured on the same training. Else it is a conflict: both are shown, as
"run [folder]", and `bench explain` in that folder knows their rows by other ids, for an id is made of the name too.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.rows import KEY, Row
from bench.store import RunDirectory
from reports.lines import flatten
from reports.site.reading import Source

WHEN = ("started_at", "seconds")  # of a measurement: two that differ in nothing else are one
COMPARED = tuple(field.name for field in dataclasses.fields(Row) if field.name not in WHEN)
BESIDE = ("protocols", "measurements")  # of a description, by protocol: what each folder measured is added up


@dataclass(frozen=True)
class Conflict:
    run: str  # the name that several have
    names: tuple[str, ...]  # by which they are told apart, in the order of the folders
    reason: str  # what differs

    @property
    def text(self) -> str:
        return f"{self.run} is not the same everywhere: {self.reason}. Shown as {' and '.join(self.names)}."


@dataclass(frozen=True)
class Merged:
    rows: tuple[Row, ...]
    descriptions: Mapping[str, Mapping[str, Any]]  # by run, of those with a result file
    recorded: Mapping[str, Mapping[str, Any]]  # by run, of all: else what its run directory says
    directories: Mapping[str, RunDirectory]  # by run
    logs: Mapping[str, list[dict[str, Any]]]  # by run: the lines of its training log, where there is one
    origins: Mapping[str, tuple[str, ...]]  # by run: the folders that have it
    conflicts: tuple[Conflict, ...]


def merge(sources: Sequence[Source]) -> Merged:
    """`sources` in the order of the folders, which decides who is named first, and which of two equal rows is shown."""
    by_run: dict[str, list[Source]] = {}
    for source in sources:
        by_run.setdefault(source.run, []).append(source)
    groups: dict[str, list[Source]] = {}
    conflicts = []
    for run in sorted(by_run):
        parted = _parted(by_run[run])
        places = _places(parted)
        names = _names(run, places, by_run) if len(parted) > 1 else [run]
        groups |= dict(zip(names, parted, strict=True))
        others = zip(places[1:], parted[1:], strict=True)
        reasons = [f"in {place} and in {places[0]}, {_contradiction(parted[0], other)}" for place, other in others]
        conflicts += [Conflict(run, tuple(names), "; ".join(reasons))] if reasons else []
    kept = {run: _best_directory(group) for run, group in groups.items()}
    described = {run: found for run, group in sorted(groups.items()) if (found := _description(group)) is not None}
    return Merged(
        rows=tuple(row for run, group in sorted(groups.items()) for row in _rows(run, group)),
        descriptions=described,
        recorded={run: described.get(run) or _first(group) for run, group in sorted(groups.items())},
        directories={run: source.directory for run, source in sorted(kept.items()) if source and source.directory},
        logs={run: [dict(line) for line in source.log] for run, source in sorted(kept.items()) if source and source.log},
        origins={run: tuple(dict.fromkeys(source.folder for source in group)) for run, group in sorted(groups.items())},
        conflicts=tuple(conflicts),
    )


# Which are the same


def _parted(sources: Sequence[Source]) -> list[list[Source]]:
    """The sources of one name in groups that do not contradict each other, each joining the first that it fits."""
    groups: list[list[Source]] = []
    for source in sources:
        home = next((group for group in groups if not _contradiction(group, [source])), None)
        if home is None:
            groups.append([source])
        else:
            home.append(source)
    return groups


def _contradiction(ours: Sequence[Source], theirs: Sequence[Source]) -> str:
    """What keeps two groups from being one run, as words; "" where nothing does."""
    return next((found for a in ours for b in theirs if (found := _difference(a, b))), "")


def _difference(a: Source, b: Source) -> str:
    ours, theirs = (_settings(source.description) for source in (a, b))
    for key in sorted(ours.keys() | theirs.keys()) if ours and theirs else ():
        if ours.get(key) != theirs.get(key):
            return f"{key} {_shown(theirs.get(key))} and {_shown(ours.get(key))}"
    for key, words in (("data_digest", "the data's digest"), ("config_digest", "the settings' digest")):
        if _both(a, b, key):
            return f"{words} {_shown(b.description[key])} and {_shown(a.description[key])}"
    first, second = ({_key(row): row for row in source.rows} for source in (a, b))
    shared = [key for key in first if key in second]
    unequal = [(first[key], second[key]) for key in shared if _content(first[key]) != _content(second[key])]
    if unequal:
        return f"{len(unequal)} of {len(shared)} rows, as {_example(*unequal[0])}"
    if first.keys() != second.keys() or not shared:  # what only one has may stand beside the other's on the same training only
        for key, words in (("started_at", "trained twice, begun"), ("device", "trained twice, on")):
            if _both(a, b, key):
                return f"{words} {_shown(b.description[key])} and {_shown(a.description[key])}"
    return ""


def _settings(description: Mapping[str, Any]) -> dict[str, Any]:
    """All but where the data lies; empty where none were recorded."""
    config = description.get("config")
    flat = flatten(config) if isinstance(config, Mapping) else {}
    return {key: value for key, value in flat.items() if not key.endswith(".folder")}


def _both(a: Source, b: Source, key: str) -> bool:
    """It is recorded of both, and not equal."""
    return all(source.description.get(key) for source in (a, b)) and a.description[key] != b.description[key]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in KEY)


def _content(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in COMPARED)


def _example(ours: Row, theirs: Row) -> str:
    field = next(name for name in ("status", *COMPARED) if getattr(ours, name) != getattr(theirs, name))
    steps = "" if ours.steps is None else f" at {ours.steps} step{'' if ours.steps == 1 else 's'}"
    what = "" if field == "value" else f"{field.replace('_', ' ')} "
    return f"{ours.metric.replace('_', ' ')}{steps}, {what}{_shown(getattr(theirs, field))} and {_shown(getattr(ours, field))}"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


# Names


def _places(groups: Sequence[Sequence[Source]]) -> list[str]:
    """Where the first of each group lies: the folder, and the file where one folder has several."""
    places = [group[0].folder for group in groups]
    return places if len(set(places)) == len(places) else [_place(group[0]) for group in groups]


def _names(run: str, places: Sequence[str], taken: Iterable[str]) -> list[str]:
    """ "run [folder]"."""
    names = [f"{run} [{place}]" for place in places]
    others = set(taken)
    while others & set(names):  # somebody calls a run so
        names = [f"{name}'" for name in names]
    return names


def _place(source: Source) -> str:
    return f"{source.folder}/results/{source.file}" if source.file else f"{source.folder}/runs/{source.run}"


# Adding up


def _rows(run: str, group: Sequence[Source]) -> list[Row]:
    """Each once, those of the first folder first."""
    found: dict[tuple[Any, ...], Row] = {}
    for source in group:
        for row in source.rows:
            found.setdefault(_key(row), row)
    return [row if row.run == run else dataclasses.replace(row, run=run) for row in found.values()]


def _description(group: Sequence[Source]) -> Mapping[str, Any] | None:
    """The first folder's, with what the others measured beside it; None where there is no result file."""
    given = [source.description for source in group if source.file]
    if not given:
        return None
    first = next((description for description in given if description), given[0])
    added = {}
    for key in BESIDE:
        parts = [part for description in reversed(given) if isinstance(part := description.get(key), Mapping)]
        added[key] = {name: value for part in parts for name, value in part.items()}
    return {**first, **{key: dict(sorted(value.items())) for key, value in added.items() if value}}


def _first(group: Sequence[Source]) -> Mapping[str, Any]:
    """The first description there is, of a result file or a run directory."""
    return next((source.description for source in group if source.description), {})


def _best_directory(group: Sequence[Source]) -> Source | None:
    """The run directory with most to show: samples, then the longer log; of equals the first."""
    there = [source for source in group if source.directory]
    return max(there, key=lambda source: (_has_samples(source), len(source.log)), default=None)


def _has_samples(source: Source) -> bool:
    return source.directory is not None and source.directory.samples.is_dir()
