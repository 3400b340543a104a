"""`fetch` against a server on this machine: downloads that are cut, wrong, too long, or come twice."""

import contextlib
import dataclasses
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import small_weights
from bench import weights
from bench.download import CHUNK
from bench.errors import RunFailed
from bench.weights import Weights, fetch, find
from small_weights import ALTERED, DATA, SMALL, put, refused


@pytest.fixture(autouse=True)
def own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    small_weights.own_places(tmp_path_factory.mktemp("caches"), monkeypatch)


class Server:
    """What an address sends: `data`, cut after `cuts`[i] bytes in the i-th connection."""

    def __init__(self) -> None:
        self.data, self.ranges, self.announced = DATA, True, True
        self.cuts: list[int] = []
        self.asked: list[str | None] = []  # the Range of each request


@pytest.fixture
def server() -> Iterator[tuple[Server, Weights]]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            state.asked.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and state.ranges else 0
            if start >= len(state.data) or self.path != "/small.pth":
                self.send_error(416 if start else 404)
                return
            body = state.data[start:]
            self.send_response(206 if start else 200)
            if state.announced:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client has seen enough
                self.wfile.write(body[: state.cuts.pop(0)] if state.cuts else body)

        def log_message(self, *_: object) -> None:
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state, dataclasses.replace(SMALL, url=f"http://127.0.0.1:{listener.server_port}/small.pth")
    listener.shutdown()
    thread.join()
    listener.server_close()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_fetch_brings_the_file_once(server: tuple[Server, Weights]) -> None:
    state, wanted = server
    seen: list[tuple[int, int]] = []
    folder = weights.cache_folder()
    path = fetch(wanted, folder, offline=False, watch=lambda *done: seen.append(done))
    assert path.read_bytes() == DATA
    assert left(folder) == ["small.pth"]
    assert seen[-1] == (len(DATA), len(DATA))
    assert find(wanted) == path == fetch(wanted, folder, offline=False) == fetch(wanted, folder, offline=True)
    put(path, ALTERED)
    assert fetch(wanted, folder, offline=False).read_bytes() == DATA  # a damaged one is replaced
    assert len(state.asked) == 2


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_download_goes_on(ranges: bool, server: tuple[Server, Weights], tmp_path: Path) -> None:
    state, wanted = server
    state.ranges, state.cuts = ranges, [700]
    assert fetch(wanted, tmp_path, offline=False).read_bytes() == DATA
    assert state.asked == [None, "bytes=700-"]
    assert left(tmp_path) == ["small.pth"]


def test_the_next_command_goes_on(server: tuple[Server, Weights], tmp_path: Path) -> None:
    state, wanted = server
    state.cuts = [700, 0]
    error = refused(lambda: fetch(wanted, tmp_path, offline=False))
    assert "700 of 4,096 bytes" in error.given
    assert "same command again" in error.remedy
    assert wanted.environment in error.remedy
    assert left(tmp_path) == ["small.pth.part"]
    assert fetch(wanted, tmp_path, offline=False).read_bytes() == DATA
    assert state.asked == [None, "bytes=700-", "bytes=700-"]


def test_wrong_bytes_are_deleted(server: tuple[Server, Weights], tmp_path: Path) -> None:
    state, wanted = server
    state.data = ALTERED
    error = refused(lambda: fetch(wanted, tmp_path, offline=False))
    assert hashlib.sha256(ALTERED).hexdigest() in error.given
    assert wanted.url in error.given
    assert wanted.sha256 in error.allowed
    assert left(tmp_path) == []


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("data", [DATA * 1000, DATA[:500]])
def test_another_size_is_not_kept(data: bytes, announced: bool, server: tuple[Server, Weights], tmp_path: Path) -> None:
    state, wanted = server
    state.data, state.announced = data, announced
    seen: list[int] = []
    error = refused(lambda: fetch(wanted, tmp_path, offline=False, watch=lambda done, _: seen.append(done)))
    assert max(seen, default=0) <= wanted.size + CHUNK  # no disk is filled with something else
    assert wanted.url in error.given
    if announced:
        assert f"offers {len(data):,} bytes" in error.given
    assert left(tmp_path) == []


def test_a_part_longer_than_what_is_there_is_deleted(server: tuple[Server, Weights], tmp_path: Path) -> None:
    state, wanted = server
    state.data = DATA[:500]
    put(tmp_path / "small.pth.part", DATA[:900])
    assert "416" in refused(lambda: fetch(wanted, tmp_path, offline=False)).given
    assert left(tmp_path) == []


def test_a_left_over_part_of_other_bytes_is_found_out(server: tuple[Server, Weights], tmp_path: Path) -> None:
    _, wanted = server
    put(tmp_path / "small.pth.part", ALTERED[::-1][:900])
    assert "deleted" in refused(lambda: fetch(wanted, tmp_path, offline=False)).given
    assert fetch(wanted, tmp_path, offline=False).read_bytes() == DATA


def test_no_network_and_no_such_address(server: tuple[Server, Weights], tmp_path: Path) -> None:
    state, wanted = server
    assert "404" in refused(lambda: fetch(dataclasses.replace(wanted, url=wanted.url + "x"), tmp_path, offline=False)).given
    assert len(state.asked) == 1  # asked once, not ATTEMPTS times
    closed = dataclasses.replace(wanted, url="http://127.0.0.1:1/small.pth")
    assert "Connection refused" in refused(lambda: fetch(closed, tmp_path, offline=False)).given
    package = dataclasses.replace(wanted, url="", package="some-package")
    assert "pip install some-package" in refused(lambda: fetch(package, tmp_path, offline=False)).allowed


def test_offline_never_asks(server: tuple[Server, Weights], tmp_path: Path) -> None:
    state, wanted = server
    error = refused(lambda: fetch(wanted, tmp_path, offline=True))
    assert "--offline" in error.given
    assert wanted.url in error.allowed
    assert wanted.environment in error.remedy
    assert not state.asked


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_named(server: tuple[Server, Weights], tmp_path: Path) -> None:
    _, wanted = server
    (tmp_path / "small.pth.part").symlink_to("/dev/full")
    with pytest.raises(RunFailed, match="disk is full"):
        fetch(wanted, tmp_path, offline=False)


def test_two_at_once_download_once(server: tuple[Server, Weights], tmp_path: Path) -> None:
    state, wanted = server
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(wanted, tmp_path, offline=False).read_bytes())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DATA] * 4
    assert len(state.asked) == 1
