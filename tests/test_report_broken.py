"""Result folders as people leave them: what is broken or foreign is named on the first page, and all the rest is shown."""

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import rows
from bench.errors import BenchError
from bench.store import Root
from reports.render import build, render
from reports.site import reading
from reports.site.content import Content, gather
from result_rows import described, row, save

RUN = "digits-soflow-T-2-s0-abc"
OTHER = "digits-meanflow-T-2-s0-abc"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAUSE", 0.0)


@pytest.fixture
def a(tmp_path: Path) -> Root:
    return Root(tmp_path / "a")


def values(content: Content) -> dict[str, list[float]]:
    """Of the first column, by line."""
    return {line.name: list(line.cells[0].values) for table in content.qualities for line in table.lines}


# Result files


def foreign(path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(path)


def changed(path: Path, table: Any, **description: Any) -> None:
    found = {b"bench": json.dumps({"schema": rows.VERSION, **description}).encode()}
    pq.write_table(table.replace_schema_metadata(found), path)


def table_of(*given: rows.Row) -> Any:
    return pa.Table.from_pylist([dataclasses.asdict(r) for r in given], schema=rows.SCHEMA)


BROKEN = {
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "cut short": (lambda p: p.write_bytes(whole()[:-20]), "is damaged"),
    "no parquet": (lambda p: p.write_bytes(b"PAR1 no"), "is damaged"),
    "somebody else's": (foreign, "not written by this suite"),
    "newer": (lambda p: changed(p, table_of(row()), schema=99), "has result schema 99"),
    "no schema": (lambda p: changed(p, table_of(row()), schema=None), "has result schema None"),
    "columns": (lambda p: changed(p, table_of(row()).drop_columns(["value", "n"])), "lacks the columns value, n"),
    "more": (lambda p: changed(p, table_of(row()).append_column("x", [[1]])), "columns that are not the suite's: x"),
    "types": (lambda p: changed(p, retyped()), "column of another type"),
    "a folder": (lambda p: p.mkdir(), "is no file"),
    "a link to nothing": (lambda p: p.symlink_to("nothing"), "vanished"),
    "a link outside": (lambda p: p.symlink_to(outside(p)), "leads out of the folder"),
    "a circle": (lambda p: p.symlink_to(p.name), "leads out of the folder"),
}


def whole() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table_of(row()), buffer)
    return buffer.getvalue()


def retyped() -> Any:
    table = table_of(row())
    place = table.schema.names.index("value")
    return table.set_column(place, "value", pa.array(["much"]))


def outside(path: Path) -> Path:
    elsewhere = Root(path.parent.parent.parent / "elsewhere")
    save(elsewhere, [row("meanflow", value=9.0)])
    return elsewhere.result_file(OTHER)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_and_the_rest_is_shown(kind: str, a: Root) -> None:
    make, words = BROKEN[kind]
    save(a, [row(value=1.0)])
    make(a.result_file("zzz"))
    content = gather(a)
    [item] = content.left_out
    assert item.what == "results/zzz.parquet"
    assert words in item.reason
    assert values(content) == {"soflow": [1.0]}


def test_the_first_page_names_what_is_left_out(a: Root, tmp_path: Path) -> None:
    save(a, [row(value=1.0)])
    a.result_file("<script>&").write_bytes(b"")
    text = build([a], tmp_path / "site").index.read_text()
    section = text.partition('id="left-out"')[2].partition("</section>")[0]
    assert "a: results/&lt;script&gt;&amp;.parquet</strong> is empty." in section
    assert "<code>bench run</code>" in section


def test_nothing_readable_is_an_error(a: Root, tmp_path: Path) -> None:
    save(a, [row(value=1.0)])
    a.result_file(RUN).write_bytes(b"")
    with pytest.raises(BenchError, match=f"results/{RUN}.parquet is empty"):
        render(a, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_rows_without_what_they_measured_are_counted_out(a: Root) -> None:
    save(a, [row(value=1.0)])
    table = table_of(row(steps=2, value=3.0), row(steps=4, epochs=float("inf")), row(steps=8))
    gap = table.to_pylist()
    gap[2]["images"] = None
    changed(a.result_file("odd"), pa.Table.from_pylist(gap, schema=rows.SCHEMA), **described(RUN, "soflow"))
    content = gather(a)
    [item] = content.left_out
    assert item.what == "2 of 3 rows of results/odd.parquet"
    assert "images" in item.reason
    assert [(r.steps, r.images) for r in content.rows] == [(1, 431_232), (2, 431_232)]
    assert all(type(r.images) is int for r in content.rows), "ids are made of them"


def test_a_value_that_is_no_number_is_a_failure_that_says_so(a: Root, tmp_path: Path) -> None:
    save(a, [row(value=1.0), row("meanflow", value=float("nan")), row("meanflow", 1, value=float("inf"))])
    text = render(a, tmp_path / "site").parent.joinpath("provenance.html").read_text()
    assert "not a finite number" in text


def test_spreads_that_are_no_numbers_are_left_out_of_their_rows(a: Root) -> None:
    save(a, [row(value=1.0, standard_error=float("inf")), row(value=2.0, steps=2, replicates=(1.0, float("nan")))])
    content = gather(a)
    assert [(r.value, r.standard_error, r.replicates) for r in content.rows] == [(1.0, None, ()), (2.0, None, ())]
    [item] = content.left_out
    assert item.what.startswith("the spreads of 2 of 2 rows")


def test_a_file_of_the_older_schema_is_read(a: Root) -> None:
    save(a, [row(value=1.0)])
    older = table_of(row("meanflow", value=2.0)).drop_columns(list(rows.UNCERTAINTY))
    changed(a.result_file("older"), older, **described(OTHER, "meanflow"), schema=1)
    content = gather(a)
    assert values(content) == {"soflow": [1.0], "meanflow": [2.0]}
    assert not content.left_out


# What moves


def test_a_file_that_is_being_copied_is_read_again(a: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    save(a, [row(value=1.0)])
    data, read, times = a.result_file(RUN).read_bytes(), Path.read_bytes, []

    def growing(path: Path) -> bytes:
        found = read(path)
        times.append(path)
        if len(times) == 1:
            path.write_bytes(data + b"more")
            path.write_bytes(data)
            return found[:40]
        return found

    monkeypatch.setattr(Path, "read_bytes", growing)
    assert values(gather(a)) == {"soflow": [1.0]}
    assert len(times) == 2


def test_a_file_that_vanishes_or_never_rests_is_named(a: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    save(a, [row(value=1.0), row("meanflow", value=2.0)])
    read = Path.read_bytes

    def restless(path: Path) -> bytes:
        found = read(path)
        if "meanflow" in path.name:
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))
        return found

    monkeypatch.setattr(Path, "read_bytes", restless)
    assert [item.reason for item in gather(a).left_out] == ["changed while it was read"]

    def vanishing(path: Path) -> bytes:
        if "meanflow" in path.name:
            path.unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", vanishing)
    assert [item.reason for item in gather(a).left_out] == ["vanished while the folder was read"]


# Run directories


def run_directory(root: Root, name: str = RUN) -> Any:
    run = root.run(name)
    run.path.mkdir(parents=True)
    run.write_status("finished", images=2)
    return run


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("status", "{", "is damaged"),
        ("status", '{"format": 99}', "format 99"),
        ("provenance", "[]", "no JSON object"),
    ],
)
def test_a_broken_run_directory_is_named_and_its_rows_stay(file: str, text: str, words: str, a: Root) -> None:
    save(a, [row(value=1.0)])
    getattr(run_directory(a), file).write_text(text)
    content = gather(a)
    [item] = content.left_out
    assert item.what == f"runs/{RUN}"
    assert words in item.reason
    assert not content.directories
    assert values(content) == {"soflow": [1.0]}


@pytest.mark.parametrize("line", ["x", '{"images": null}', '{"images": 1, "mse": "much"}', '{"images": 1, "epoch": []}'])
def test_a_broken_log_is_named_and_the_run_stays(line: str, a: Root) -> None:
    save(a, [row(value=1.0)])
    run_directory(a).train_log.write_text(f'{line}\n{{"images": 2, "mse": 1.0}}\n')
    content = gather(a)
    [item] = content.left_out
    assert item.what == f"runs/{RUN}/train.jsonl"
    assert RUN in content.directories
    assert RUN not in content.logs


@pytest.mark.parametrize("what", ["path", "status", "provenance", "train_log", "samples", "picture"])
def test_links_that_lead_out_are_not_followed(what: str, a: Root, tmp_path: Path) -> None:
    save(a, [row(value=1.0)])
    run = run_directory(a)
    run.samples.mkdir()
    run.provenance.write_text("{}")
    run.train_log.write_text('{"images": 1, "mse": 1.0}\n')
    (run.samples / "steps-1.png").write_bytes(b"secret")
    place = run.samples / "steps-1.png" if what == "picture" else getattr(run, what)
    place.rename(tmp_path / "outside")
    place.symlink_to(tmp_path / "outside")
    content = gather(a)
    assert [(item.what, item.reason) for item in content.left_out] == [(f"runs/{RUN}", "leads out of the folder")]
    assert not content.directories


def test_runs_and_results_themselves_may_be_links(a: Root, tmp_path: Path) -> None:
    save(a, [row(value=1.0)])
    run_directory(a)
    for place in (a.runs, a.results):
        place.rename(tmp_path / f"big-disk-{place.name}")
        place.symlink_to(tmp_path / f"big-disk-{place.name}")
    content = gather(a)
    assert values(content) == {"soflow": [1.0]}
    assert RUN in content.directories
    assert not content.left_out


def test_names_that_are_no_utf_8(a: Root, tmp_path: Path) -> None:
    save(a, [row(value=1.0)])
    run_directory(a, os.fsdecode(b"run-\xff"))
    a.result_file(os.fsdecode(b"bad-\xff")).write_bytes(b"")
    site = build([a], tmp_path / "site")
    assert "results/bad-?.parquet" in site.index.read_text()
    assert "run-?" in (tmp_path / "site" / "provenance.html").read_text()


def test_a_file_without_rows_is_listed_with_its_state(a: Root, tmp_path: Path) -> None:
    save(a, [row(value=1.0)])
    rows.write(a.result_file(OTHER), [], described(OTHER, "meanflow"))
    text = build([a], tmp_path / "site").index.parent.joinpath("provenance.html").read_text()
    assert OTHER in text
