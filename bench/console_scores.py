"""The verbs about scores, as a person sees them."""

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table as RichTable

from bench.errors import EXIT_FAILED, BenchError, RunFailed, unknown
from bench.guard import typed
from bench.progress import board, err
from bench.show import describe_row, out
from bench.store import Root, check_place

if TYPE_CHECKING:
    from bench.config import Suite
    from bench.rows import Row
    from bench.score import Ways
    from bench.stats import Making


# explain


def show_explanation(root: Path, first: str, second: str, suite: "Suite | None") -> None:
    """Print what differs between two rows; with `suite`, also measure what the cheap differences do."""
    from bench import explain
    from bench.rows import read
    from reports.lines import records

    frame, descriptions = read(Root(root).results)
    rows = records(frame)
    a, b = explain.find(rows, first), explain.find(rows, second)
    for row in (a, b):
        out.print(escape(describe_row(row)), soft_wrap=True)
    if a.value is not None and b.value is not None and (a.metric, a.unit) == (b.metric, b.unit):
        out.print(f"second - first: {b.value - a.value:+.6g}")
    found = explain.differences(a, b, descriptions)
    grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("", "field", "first", "second"):
        grid.add_column(head, overflow="fold")
    before = ""
    for d in found:
        grid.add_row(d.section if d.section != before else "", *(escape(str(x)) for x in (d.field, d.first, d.second)))
        before = d.section
    out.print(grid if found else "Every recorded field is equal.")
    if suite and explain.cheap(found):
        with board() as progress:
            effects = explain.measure(a, b, descriptions, Root(root), suite, progress.watch)
        show_effects(effects, a)
    elif suite:
        out.print("None of these can be measured from a snapshot: that takes label rule, quantiser, samples or steps.")


def show_effects(effects: list[Any], row: "Row") -> None:
    out.print("\nMeasured from the first row's snapshot, one change at a time:")
    grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("", "", row.metric, "effect"):
        grid.add_column(head, overflow="fold")
    for effect in effects:
        difference = f"{effect.difference:+.6g}" if effect.field else f"(the row says {row.value:.6g})"
        grid.add_row(effect.field or "as it was", escape(effect.change), f"{effect.value:.6g}", difference)
    out.print(grid)


# fetch


def fetch(names: list[str], folder: Path | None, *, offline: bool) -> None:
    """Bring the named weights and print where they are; without names, print what is known and what is there."""
    from bench import weights as third_party

    for name in names:
        if name not in third_party.KNOWN:
            raise unknown("weights", name, third_party.KNOWN, "`bench fetch` lists them.")
    for name in names:
        with board() as progress:
            found = third_party.fetch(
                third_party.KNOWN[name], folder or third_party.cache_folder(), offline=offline,
                watch=functools.partial(progress.watch_bytes, name),
            )  # fmt: skip
        out.print(escape(str(found)), soft_wrap=True)
    for known in () if names else third_party.KNOWN.values():
        out.print(f"[bold]{escape(known.name)}[/bold]: {escape(third_party.described_source(known))}", soft_wrap=True)
        try:
            place = "comes with that package" if known.package else str(third_party.find(known))
        except BenchError as error:
            place = error.given if os.environ.get(known.environment) else "not here"
        out.print(f"  needed for {escape(known.needed_for)}\n  {escape(place)}", soft_wrap=True)


# score


def score_images(a: str, b: str, ways: "Ways", root: Path, path: Path | None) -> None:
    """Print the scores of images that others made; write them to `path`."""
    from bench import score

    if path:
        check_place(path)
    with board() as progress:
        found = score.score(a, b, ways, Root(root).references, command=typed(), watch=progress.watch)
    for line in score.lines(found):
        out.print(escape(line), soft_wrap=True)
    if path:
        score.write(found, path)
        out.print(escape(str(path)), soft_wrap=True)


# stats


def making(suite: "Suite") -> "Making":
    from bench.stats import Making

    return Making(extractor_options=suite.extractors, dataset_options=suite.datasets, device=suite.loop.device)


def build_statistics(what: str, extractor: str, suite: "Suite", root: Path, path: Path | None) -> None:
    from bench import stats

    built = stats.build(what, extractor, making(suite), Root(root).references, out=path, command=typed())
    for remark in built.remarks:
        out.print(escape(remark), soft_wrap=True)
    out.print(escape(str(built.path)), soft_wrap=True)


def list_statistics(places: list[Path], root: Path) -> None:
    from bench import stats

    for place in places:
        if not place.exists():
            raise BenchError(f"{place} does not exist", "folders and files", "Correct the path.")
    own = Root(root).references
    found = stats.listing(places or ([own] if own.is_dir() else []))
    for record in found:
        out.print(f"[bold]{escape(record['file'])}[/bold]", soft_wrap=True)
        if record["fault"]:
            out.print(f"  {escape(record['fault'])}", style="red", soft_wrap=True)
            continue
        images = f"{record['images']:,} images" if record["images"] else "an unknown number of images"
        by = record["extractor"] or f"an extractor of {record['dim']:,} dimensions that it does not name"
        made = f", {record['created_at']}, {record['command']}" if record["command"] else ""
        out.print(escape(f"  {record['kind']}: {record['name'] or 'not named'}, {images}, by {by}{made}"), soft_wrap=True)
    if not found:
        out.print("(none yet)")


def verify_statistics(files: list[Path], recompute: int, suite: "Suite") -> int:
    """Print what is right and wrong with each file; the exit code."""
    from bench import stats

    code = 0
    for path in files:
        found = stats.verify(path, making(suite), recompute=recompute)
        out.print(f"[bold]{escape(str(path))}[/bold]: {'wrong' if found.faults else 'right'}", soft_wrap=True)
        for style, lines in (("red", found.faults), ("", found.checked), ("dim", found.notes)):
            for line in lines:
                out.print(f"  {escape(line)}", style=style, soft_wrap=True)
        code = EXIT_FAILED if found.faults else code
    return code


# check


def check(profile: Path | None, baseline: Path | None, *, seeds: int | None, speed: bool, folder: Path | None) -> int:
    """Print the report and write it to `folder`; the exit code."""
    from bench.gate import checking, forms

    with board() as progress:
        report = checking.check(profile, baseline, seeds=seeds, speed=speed, say=progress.say, started_by=typed())
    out.print(escape(forms.text(report)), soft_wrap=True)
    for path in checking.save(report, folder):
        out.print(escape(str(path)), soft_wrap=True)
    return report.code


def update_baseline(profile: Path | None, baseline: Path | None, *, seeds: int | None, speed: bool, folder: Path | None) -> int:
    """Write a new baseline; the exit code."""
    from bench.gate import judgement, updating

    if folder:
        raise BenchError("--out with --update", "--out without it: an update compares nothing", "Leave out one of the two.")
    try:
        with board() as progress:
            done = updating.update(profile, baseline, seeds=seeds, speed=speed, say=progress.say, started_by=typed())
    except RunFailed as error:  # not 1: that is "regressed" here
        err.print(f"Failed: {escape(str(error))}", style="red", soft_wrap=True)
        return judgement.EXIT_NOT_RUN
    out.print(escape(done), soft_wrap=True)
    return 0
