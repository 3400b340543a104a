"""`bench report` as it is typed: folders, warnings, --watch, --serve, --open, --pdf, and mistakes."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import console_report
from bench.errors import BenchError
from bench.store import Root
from command_line import bench, mistake
from reports.render import build
from reports.site import serve
from reports.site.watch import state_of
from result_rows import row, save


@pytest.fixture
def root(tmp_path: Path) -> Root:
    root = Root(tmp_path / "a")
    save(root, [row(value=1.0)])
    return root


def report(root: Root, *words: str, out: str = "site") -> list[str]:
    return ["report", str(root.path), "--out", str(root.path.parent / out), *words]


def test_folders_are_merged_and_stdout_is_the_page(root: Root, tmp_path: Path) -> None:
    save(Root(tmp_path / "b"), [row("meanflow", value=2.0)])
    result = bench("report", str(root.path), str(tmp_path / "b"), "--root", str(tmp_path))
    assert result.exit_code == 0, result.output
    page = Path(result.stdout.strip())
    assert page == tmp_path / "site" / "index.html"
    assert "meanflow" in page.read_text()
    assert not result.stderr


def test_what_is_left_out_is_said_beside_the_path(root: Root, tmp_path: Path) -> None:
    save(Root(tmp_path / "b"), [row(value=2.0)])
    root.result_file("broken").write_bytes(b"")
    root.result_file("\x1b[2J").write_bytes(b"")
    result = bench("report", str(root.path), str(tmp_path / "b"), "--out", str(tmp_path / "site"))
    assert result.exit_code == 0
    assert Path(result.stdout.strip()).is_file()
    assert "a: results/broken.parquet is empty" in result.stderr
    assert "a: results/?[2J.parquet is empty" in result.stderr
    assert "is not the same everywhere" in result.stderr


def test_mistakes(root: Root, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    for words, given in (
        (["report", str(tmp_path / "nowhere")], "nowhere is no folder"),
        (["report", str(root.results)], "holds the result files themselves"),
        (report(root, "--port", "1"), "--port 1 without --serve"),
        (report(root, "--interval", "1"), "--interval 1 without --watch"),
        (report(root, "--watch", "--pdf", "x.pdf"), "--pdf with --watch"),
        (report(root, "--pdf", str(tmp_path)), "is a folder"),
        (report(root, out="full"), "is not empty, and no report of this suite"),
        (report(root, "--watch", out="full"), "is not empty, and no report of this suite"),
    ):
        assert given in mistake(bench(*words)), words
    assert (tmp_path / "full" / "thesis.tex").read_text() == "mine"
    assert bench(*report(root, "--force", out="full")).exit_code == 0
    assert (tmp_path / "full" / "thesis.tex").read_text() == "mine"


def test_open_shows_the_page_or_says_where_it_is(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: shown.append(address) or True)
    assert not bench(*report(root, "--open")).stderr
    assert shown == [(root.path.parent / "site" / "index.html").as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    assert "No browser could be opened here" in bench(*report(root, "--open")).stderr


# --serve


Get = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Get, Path]]:
    """get(path) of a site that is served, as status, headers, body; and where it lies."""
    place = tmp_path_factory.mktemp("served")
    save(Root(place / "a"), [row(value=1.0)])
    site = build([Root(place / "a")], place / "site").index.parent
    (place / "secret.html").write_text("secret")
    (site / "mine.html").write_text("secret: not of the site")
    (site / "cost.html").unlink()
    (site / "cost.html").symlink_to(place / "secret.html")
    with serve.server(site, 0) as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

        def get(path: str, method: str = "GET", host: str = "") -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(serve.HERE, found.server_port, timeout=10)
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host or f"{serve.HERE}:{found.server_port}")
            connection.endheaders()
            answer = connection.getresponse()
            got = answer.status, dict(answer.getheaders()), answer.read()
            connection.close()
            return got

        assert found.server_address[0] == "127.0.0.1"
        yield get, site
        found.shutdown()


def test_the_site_is_served_with_its_types(served: tuple[Get, Path]) -> None:
    get, site = served
    for path, kind in {
        "/": "text/html; charset=utf-8",
        "/index.html?x=1": "text/html; charset=utf-8",
        "/runs/digits-soflow-T-2-s0-abc.html": "text/html; charset=utf-8",
        "/assets/style.css": "text/css; charset=utf-8",
    }.items():
        status, headers, body = get(path)
        assert (status, headers["Content-Type"], int(headers["Content-Length"])) == (200, kind, len(body)), path
        assert get(path, "HEAD")[2] == b""
    assert get("/")[2] == (site / "index.html").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["/nothing.html", "/runs", "/runs/", "/assets/", "/../secret.html", "/%2e%2e/secret.html", "/runs/..%2f..%2fsecret.html",
     "//secret.html", "/mine.html", "/cost.html", "/site.json", "/index.html%00", "/..\\secret.html", "/" + "a" * 5000],
)  # fmt: skip
def test_nothing_else_is_served(path: str, served: tuple[Get, Path]) -> None:
    status, _, body = served[0](path)
    assert status == 404
    assert b"secret:" not in body
    assert b"Directory" not in body


def test_another_host_name_for_this_address_is_refused(served: tuple[Get, Path]) -> None:
    assert served[0]("/", host="evil.example:80")[0] == 403
    assert served[0]("/", "POST")[0] == 501


def test_a_port_in_use_is_a_mistake(root: Root, tmp_path: Path) -> None:
    with serve.server(tmp_path, 0) as first:
        message = mistake(bench(*report(root, "--serve", "--port", str(first.server_port))))
    assert f"Port {first.server_port} can not be had" in message


# --watch


def test_the_state_changes_with_what_the_report_shows(root: Root) -> None:
    seen = [state_of([root])]
    run = root.run("digits-soflow-T-2-s0-abc")

    def changed() -> bool:
        seen.append(state_of([root]))
        return seen[-1] != seen[-2]

    assert not changed()
    run.path.mkdir(parents=True)
    run.write_status("running", images=1)
    assert changed()
    run.train_log.write_text('{"images": 1}\n')
    assert changed()
    run.samples.mkdir()
    (run.samples / "steps-1.png").write_bytes(b"x")
    assert changed()
    (run.samples / ".steps-1.png.1.tmp").write_bytes(b"x")
    run.text_log.write_text("a line")
    assert not changed()
    root.result_file("digits-soflow-T-2-s0-abc").unlink()
    assert changed()


def lines_until(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stderr
    end = time.monotonic() + 60
    while time.monotonic() < end:
        line = process.stderr.readline()
        if words in line:
            return
        assert line, f"it ended before it said {words!r}"
    raise AssertionError(words)


def test_watching_survives_half_written_files_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    root = Root(tmp_path / "a")
    root.results.mkdir(parents=True)
    words = report(root, "--watch", "--interval", "0.1", "--serve", "--port", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).parent.parent, env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    try:
        lines_until(process, "waiting for them")
        lines_until(process, "Watching")
        save(root, [row(value=1.0)])
        lines_until(process, "index.html")
        assert "soflow" in (tmp_path / "site" / "index.html").read_text()
        data = root.result_file("digits-soflow-T-2-s0-abc").read_bytes()
        root.result_file("digits-soflow-T-2-s0-abc").write_bytes(data[:100])  # nothing is readable now
        lines_until(process, "is damaged")
        assert "soflow" in (tmp_path / "site" / "index.html").read_text(), "the last good site stays"
        root.result_file("digits-soflow-T-2-s0-abc").write_bytes(data)
        save(root, [row("meanflow", value=2.0)])
        lines_until(process, "index.html")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()
    assert "meanflow" in (tmp_path / "site" / "index.html").read_text()


def test_folders_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    wanted = console_report.Wanted(
        folders=(tmp_path / "nowhere",), site=tmp_path / "site", force=False, watch=False, interval=None, open=False,
        serve=False, port=None, pdf=tmp_path / "report.pdf",
    )  # fmt: skip
    with pytest.raises(BenchError, match="is no folder"):
        console_report.make_report(wanted)
    assert not list(tmp_path.iterdir())
