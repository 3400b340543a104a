"""A file from an address, by the standard library: a download that was cut goes on where it stopped. Imports no torch.

    download("https://...", Path("weights.pth.part"), size=95_628_359, otherwise="bring it by hand")

Whether it is the right file is for the caller to see, by its digest, before it takes its name.
"""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bench.errors import BenchError
from bench.store import explain_os_errors

Watch = Callable[[int, int], None]  # bytes done, bytes in all

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4  # connections in one call; each goes on where the last was cut


def download(url: str, part: Path, size: int, *, watch: Watch = lambda *_: None, otherwise: str) -> None:
    """Fill `part` with the `size` bytes at `url`, behind those that it holds already.

    Raises BenchError, ending in `otherwise`, when it stays short or the address offers another size, RunFailed on a full disk.
    """
    reason: object = "the connection was cut"
    for _ in range(ATTEMPTS):
        done = _length(part)
        if done >= size:
            return
        try:
            _connect(url, part, done, size, watch)
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", None) or error
        if _length(part) <= done:
            break  # no network, or an address that answers with an error: asking again at once brings nothing
    if _length(part) >= size:
        return
    raise BenchError(
        f"Could not download {url} ({reason}); {_length(part):,} of {size:,} bytes are there",
        "a connection to that address",
        f"Run the same command again: it goes on where it stopped. Or {otherwise}.",
    )


def _connect(url: str, part: Path, done: int, size: int, watch: Watch) -> None:
    """One connection, for what is missing behind the first `done` bytes. Deletes `part` where the address has another file."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            start = done if response.status == http.client.PARTIAL_CONTENT else 0  # else it sends all again
            if response.length is not None and start + response.length != size:
                part.unlink(missing_ok=True)
                raise http.client.HTTPException(f"it offers {start + response.length:,} bytes: another file")
            _receive(response, part, start, size, watch)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)  # longer than what is there
        raise


def _receive(response: http.client.HTTPResponse, part: Path, start: int, size: int, watch: Watch) -> None:
    """Write the body behind the first `start` bytes; at most one chunk too many, where the length was not announced."""
    with explain_os_errors(part):
        if not start:
            part.write_bytes(b"")
    while start <= size and (chunk := response.read(CHUNK)):
        # Opened for each chunk: what closing it raises is the disk's, what reading raises is the network's.
        with explain_os_errors(part), part.open("ab") as file:
            file.write(chunk)
        start += len(chunk)
        watch(start, size)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
