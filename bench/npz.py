"""Reading .npz files of others: an array at a time, never as code, in pieces where it is large.

    names(path)                                       # ("mu", "sigma", "arr_0"); no array is opened
    array(path, "mu")                                 # whole
    for block in blocks(path, "arr_0", 100): ...      # 100 rows at a time

Anything that is wrong with the file is a BenchError that names it, and the array.
"""

import contextlib
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError

Array = npt.NDArray[Any]

ALLOWED = "an .npz file of plain arrays, as numpy's savez writes it"
# What zipfile and numpy raise for damage, for a compression that is not there, for a password
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, struct.error, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool  # Fortran's order


def names(path: Path) -> tuple[str, ...]:
    with _archive(path) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))


def header(path: Path, name: str) -> Header:
    """The array's shape and type, without its content."""
    with _member(path, name) as (found, _):
        return found


def array(path: Path, name: str) -> Array:
    with _member(path, name) as (found, stream):
        return _rows(stream, found, None)


def blocks(path: Path, name: str, rows: int) -> Iterator[Array]:
    """The array's rows in order, so many at a time: the memory does not depend on how many there are."""
    with _member(path, name) as (found, stream):
        if found.by_columns:
            given = f"{path}: array {name} is stored column by column (Fortran order)"
            raise BenchError(given, "rows one after the other", f"Write it again with np.ascontiguousarray({name}).")
        for first in range(0, found.shape[0], rows):
            yield _rows(stream, found, min(rows, found.shape[0] - first))


# One member


def _rows(stream: IO[bytes], found: Header, rows: int | None) -> Array:
    """The next rows of the array; None: all of it."""
    shape = found.shape if rows is None else (rows, *found.shape[1:])
    data = bytearray(stream.read(math.prod(shape) * found.dtype.itemsize))
    if len(data) != math.prod(shape) * found.dtype.itemsize:
        raise EOFError("it ends early")
    return np.frombuffer(data, found.dtype).reshape(shape, order="F" if found.by_columns else "C")


@contextlib.contextmanager
def _member(path: Path, name: str) -> Iterator[tuple[Header, IO[bytes]]]:
    """The array's header, and a stream that stands at its first byte."""
    with _archive(path, name) as archive:
        if f"{name}.npy" not in archive.namelist():
            held = ", ".join(n.removesuffix(".npy") for n in archive.namelist()) or "nothing"
            raise BenchError(f"{path} holds {held}, and no {name}", f"a file with {name}", "Name another file.")
        with archive.open(f"{name}.npy") as stream:
            found = _read_header(path, name, stream)
            # Before anything of that size is allocated
            if math.prod(found.shape) * found.dtype.itemsize != archive.getinfo(f"{name}.npy").file_size - stream.tell():
                raise EOFError("its length is not the one its header tells")
            yield found, stream


def _read_header(path: Path, name: str, stream: IO[bytes]) -> Header:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(stream)
    if version not in readers:
        raise ValueError(f"format {version} of .npy")
    shape, fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        raise pickled(path, f"array {name} holds Python objects")
    return Header(tuple(int(length) for length in shape), dtype, bool(fortran) and len(shape) > 1)


def pickled(path: Path, what: str) -> BenchError:
    """The refusal of a file that would have to be unpickled."""
    remedy = 'Write its arrays anew with numpy.savez(FILE, name=array), each of a plain type such as "uint8" or "float64".'
    return BenchError(f"{path}: {what}: pickled content, and reading it runs whatever code it holds", ALLOWED, remedy)


# The file


@contextlib.contextmanager
def _archive(path: Path, name: str = "") -> Iterator[zipfile.ZipFile]:
    """The open file. The stream is ours: numpy's own reader leaves it open when the file is damaged."""
    what = f"{path}, array {name}," if name else f"{path}"
    try:
        with path.open("rb") as stream:
            _check_magic(path, stream)
            with zipfile.ZipFile(stream) as archive:
                yield archive
    except OSError as error:
        given = f"{path} can not be read ({error.strerror or error})"
        raise BenchError(given, ALLOWED, "Correct the path, or give yourself the permission.") from error
    except DAMAGE as error:
        reason = str(error.args[0] if error.args else error).strip().splitlines() or [type(error).__name__]
        raise BenchError(
            f"{what} is damaged or cut short ({reason[0]})", ALLOWED, "Restore the file: download or write it again."
        ) from error


def _check_magic(path: Path, stream: IO[bytes]) -> None:
    start = stream.read(6)
    stream.seek(0)
    if start.startswith(b"\x93NUMPY"):
        raise BenchError(f"{path} is a single array (.npy)", ALLOWED, "Write it with numpy.savez(FILE, arr_0=array).")
    if start[:1] == b"\x80":  # pickle's protocol 2 and later; no zip file begins so
        raise pickled(path, "it is a pickle")
    if not start.startswith(b"PK"):
        held = "is empty" if not start else "is no .npz file"
        raise BenchError(f"{path} {held}", ALLOWED, "Name another file, or restore this one.")
