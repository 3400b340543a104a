"""The folder of a site: ours alone, whole or as it was, without what an earlier site left, and never a file outside it."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from reports.site import folder as site_folder
from reports.site.folder import MARKER, SiteFolder


def publish(path: Path, *, force: bool = False, **files: str) -> SiteFolder:
    """Files by name, "__" for "/" and "_" for "."."""
    site = SiteFolder(path, force=force)
    for name, text in {"index_html": "first page", **files}.items():
        site.add(name.replace("__", "/").replace("_", "."), text)
    site.publish()
    return site


def there(path: Path) -> list[str]:
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


def test_a_site_is_written_and_knows_its_files(tmp_path: Path) -> None:
    publish(tmp_path / "site", runs__a_html="a")
    assert there(tmp_path / "site") == ["index.html", "runs/a.html", MARKER]
    assert json.loads((tmp_path / "site" / MARKER).read_text())["files"] == ["index.html", "runs/a.html"]


def test_what_only_the_earlier_site_had_goes_with_its_folder(tmp_path: Path) -> None:
    publish(tmp_path, runs__a_html="a", runs__deep__b_html="b", data__c_csv="c")
    publish(tmp_path, data__c_csv="c")
    assert there(tmp_path) == ["data/c.csv", "index.html", MARKER]
    assert not (tmp_path / "runs").exists()


def test_other_files_are_refused_and_stay_when_forced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(BenchError, match="not empty, and no report of this suite"):
        SiteFolder(tmp_path)
    publish(tmp_path, force=True)
    publish(tmp_path)  # it is ours now
    assert (tmp_path / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize(
    "marker", ["", "{", "[]", '{"suite": "other", "files": []}', '{"suite": "one-step-bench"}',
               '{"suite": "one-step-bench", "files": ["../thesis.tex"]}', '{"suite": "one-step-bench", "files": [1]}'],
)  # fmt: skip
def test_a_marker_that_is_not_ours_protects_nothing_and_deletes_nothing(marker: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / MARKER).write_text(marker)
    with pytest.raises(BenchError, match="no report of this suite"):
        SiteFolder(tmp_path / "site")
    publish(tmp_path / "site", force=True)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("name", ["../x.html", "/x.html", "a/../../x.html", "", ".", MARKER])
def test_no_place_outside_the_site(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no place inside"):
        SiteFolder(tmp_path).add(name, "x")


def test_two_files_of_one_name_are_a_mistake_of_ours(tmp_path: Path) -> None:
    site = SiteFolder(tmp_path)
    site.add("a.html", "a")
    with pytest.raises(ValueError, match=r"two files of the site are called 'a\.html'"):
        site.add("a.html", "b")


def test_links_among_its_folders_are_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.html").write_text("not ours")
    publish(tmp_path / "site")
    (tmp_path / "site" / "runs").symlink_to(outside)
    with pytest.raises(BenchError, match="leads out of"):
        publish(tmp_path / "site", runs__a_html="a")
    assert (outside / "a.html").read_text() == "not ours"


def test_links_are_not_deleted_through(tmp_path: Path) -> None:
    publish(tmp_path / "site", runs__a_html="a")
    (tmp_path / "site" / "runs").rename(tmp_path / "moved")
    (tmp_path / "site" / "runs").symlink_to(tmp_path / "moved")
    with pytest.raises(BenchError, match="leads out of"):
        publish(tmp_path / "site")
    assert (tmp_path / "moved" / "a.html").is_file()


def test_a_file_that_is_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not ours")
    publish(tmp_path / "site")
    (tmp_path / "site" / "index.html").unlink()
    (tmp_path / "site" / "index.html").symlink_to(tmp_path / "secret")
    publish(tmp_path / "site", index_html="new")
    assert (tmp_path / "secret").read_text() == "not ours"


def test_what_a_person_deleted_does_not_matter(tmp_path: Path) -> None:
    publish(tmp_path, runs__a_html="a", runs__b_html="b")
    for name in ("a", "b"):
        (tmp_path / "runs" / f"{name}.html").unlink()
    (tmp_path / "runs").rmdir()
    publish(tmp_path)
    assert there(tmp_path) == ["index.html", MARKER]


@pytest.mark.parametrize("last", ["index.html", "new.html"])
def test_a_crash_in_the_middle_leaves_nothing_for_ever(last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, old_html="old")
    write = site_folder.write_atomic

    def crashing(path: Path, data: Any) -> None:
        if path.name == last:
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(site_folder, "write_atomic", crashing)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, index_html="new", new_html="new")
    assert (tmp_path / "index.html").read_text() == "first page", "it is written last: it leads to all the others"
    monkeypatch.undo()
    publish(tmp_path)
    assert there(tmp_path) == ["index.html", MARKER]


def test_files_that_did_not_change_are_not_written(tmp_path: Path) -> None:
    publish(tmp_path, a_html="a")
    os.utime(tmp_path / "a.html", (1, 1))
    publish(tmp_path, a_html="a", index_html="new")
    assert (tmp_path / "a.html").stat().st_mtime == 1


def test_the_page_that_this_suite_wrote_alone_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<title>One-step generators compared</title>")
    publish(tmp_path, index_html="new")
    assert (tmp_path / "index.html").read_text() == "new"


def test_a_source_that_vanished_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="Cannot read"):
        SiteFolder(tmp_path / "site").add("a.png", tmp_path / "gone.png")


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("")
    with pytest.raises(BenchError, match="Not a directory"):
        SiteFolder(tmp_path / "site")


def refusing(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """From now on the system lets nobody read."""

    def refuse(path: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, method, refuse)


def test_an_old_file_that_can_not_be_read_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path)
    refusing(monkeypatch, "read_bytes")
    with pytest.raises(BenchError, match=r"index\.html \(Permission denied\)"):
        publish(tmp_path)


def test_a_lone_page_that_can_not_be_read_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.html").write_text("<title>One-step generators compared</title>")
    refusing(monkeypatch, "read_text")
    with pytest.raises(BenchError, match="Permission denied"):
        SiteFolder(tmp_path)
