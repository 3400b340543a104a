"""Files of statistics: our own, ADM's (mu, sigma, mu_s, sigma_s, arr_0), those with mu and sigma alone (EDM's .npz and others).

    file = open_file(Path("VIRTUAL_imagenet256_labeled.npz"))
    real = file.statistics()                           # checked; arr_0 stays closed
    write(path, identity, found, manifest)             # path, and path's manifest .json beside it

Our own have ADM's names, further `n`, `features`, and `identity`: what determines the content, as JSON. So the same images
make the same bytes; when and by which command is in the manifest, with the file's sha256.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import npz
from bench.errors import BenchError
from bench.extractors import Extractor, conditions_of
from bench.metrics import Statistics
from bench.store import write_atomic

FORMAT = 3  # of our own files: of the array `identity`, and of the manifest
ROUNDING = 1e-6  # of a file's numbers, relative: float32 files are symmetric and positive to this
ALLOWED = "finite statistics of real images' features: a mean (d,) and a symmetric covariance (d, d), as ADM publishes them"
REMEDY = "Download the file again, or make one: `bench stats build`."
IDENTITY = {"name", "data", "shape", "images", "quantiser", "extractor", "extractor_digest", "conditions"}
PAIRS = {"mu": "sigma", "mu_s": "sigma_s"}

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Measured:
    """What is taken from real images."""

    statistics: Statistics
    spatial: Statistics | None  # of Outputs.spatial
    features: Tensor | None  # (m, dim) float32, of all images or of a random choice, in the order of their numbers


@dataclass(frozen=True)
class StatisticsFile:
    """An .npz with mu and sigma. Nothing but names and identity was read yet."""

    path: Path
    members: tuple[str, ...]
    identity: dict[str, Any]  # empty where the file does not say what it is of

    @property
    def kind(self) -> str:
        if self.identity:
            return "ours"
        return "adm" if {"mu_s", "arr_0"} & set(self.members) else "two-key"

    @property
    def images(self) -> int | None:
        """Behind mu and sigma; None where the file does not say. arr_0 may be a choice of them: it does not count."""
        if "n" not in self.members:
            return None
        n = npz.array(self.path, "n")
        if n.shape != () or n.dtype.kind not in "iu" or n < 1:
            raise BenchError(f"{self.path}: n is no number of images", "a whole number, at least 1", REMEDY)
        return int(n)

    @property
    def shape(self) -> Shape | None:
        """(C, H, W) of the images behind it; None where it is not known."""
        if "shape" in self.identity:
            c, h, w = self.identity["shape"]
            return int(c), int(h), int(w)
        try:
            _, h, w, c = npz.header(self.path, "arr_0").shape
        except (BenchError, ValueError):  # not there; or damaged, which is said when its images are needed
            return None
        return c, h, w

    def statistics(self) -> Statistics:
        return self._pair("mu")

    def spatial(self) -> Statistics | None:
        if "mu_s" not in self.members:
            return None
        found = self._pair("mu_s")
        if float(found.mean.min()) < 0:
            given = f"{self.path}: mu_s goes down to {float(found.mean.min()):.3g}"
            raise BenchError(given, "means of ADM's sFID layer, which is behind a ReLU: none is below 0", REMEDY)
        return found

    def features(self) -> Tensor:
        return torch.from_numpy(npz.array(self.path, "features"))

    def _pair(self, name: str) -> Statistics:
        """Mean and covariance, float64, once they can be that. Raises BenchError."""
        arrays: dict[str, Tensor] = {}
        for key in (name, PAIRS[name]):
            found = npz.header(self.path, key)
            if found.dtype.kind not in "fiu":
                raise BenchError(f"{self.path}: {key} has the type {found.dtype}", ALLOWED, REMEDY)
            wanted = 1 if key == name else 2
            if len(found.shape) != wanted or (wanted == 2 and found.shape != 2 * arrays[name].shape):
                raise BenchError(f"{self.path}: {key} has the shape {found.shape}", ALLOWED, REMEDY)
            arrays[key] = torch.from_numpy(npz.array(self.path, key).astype(np.float64))
        mean, covariance = arrays.values()
        if wrong := fault(mean, covariance):
            raise BenchError(f"{self.path}: {wrong.format(mean=name, covariance=PAIRS[name])}", ALLOWED, REMEDY)
        return Statistics(self.images or 0, mean, covariance)


def fault(mean: Tensor, covariance: Tensor) -> str:
    """What keeps them from being a mean and a covariance, with {mean} and {covariance} for their names; "" for nothing."""
    for name, values in (("{mean}", mean), ("{covariance}", covariance)):
        if broken := int((~values.isfinite()).sum()):
            return f"{broken:,} of the {values.numel():,} numbers in {name} are NaN or infinite"
    skew, largest = float((covariance - covariance.T).abs().max()), float(covariance.abs().max())
    if skew > ROUNDING * largest:
        return f"{{covariance}} is not symmetric (entries differ by up to {skew:.3g}, the largest is {largest:.3g})"
    # Cholesky's succeeds when no eigenvalue is below -shift: a tenth of the time that the eigenvalues take.
    trace = float(torch.trace(covariance))
    shift = max(ROUNDING * trace, float(np.finfo(np.float64).tiny))
    if int(torch.linalg.cholesky_ex(covariance + shift * torch.eye(len(mean), dtype=torch.float64)).info):
        return f"{{covariance}} has negative eigenvalues, beyond rounding (trace {trace:.3g}): no covariance"
    return ""


# Opening


def open_file(path: Path) -> StatisticsFile:
    """Raises BenchError for a file that holds no statistics, and for EDM's newer .pkl files."""
    if path.suffix == ".pkl":
        remedy = "Use EDM's older .npz files (fid-refs: mu and sigma), or make one: `bench stats build`."
        raise BenchError(f"{path} is pickled: reading it runs whatever code it holds", "an .npz file", remedy)
    members = npz.names(path)
    for name in ("mu", "sigma", *(("sigma_s",) if "mu_s" in members else ())):
        if name not in members:
            raise BenchError(f"{path} holds {', '.join(members) or 'nothing'}, and no {name}", ALLOWED, REMEDY)
    return StatisticsFile(path, members, _identity(path, members))


def _identity(path: Path, members: tuple[str, ...]) -> dict[str, Any]:
    """From the file, else from the manifest beside it."""
    if "identity" not in members:
        return dict(read_manifest(path).get("identity", {}))
    try:
        identity = json.loads(str(npz.array(path, "identity")))
    except ValueError:
        identity = None
    if not is_identity(identity):
        raise BenchError(f"{path} was written in another format", f"format {FORMAT}", "Make it again: `bench stats build`.")
    return dict(identity)


def is_identity(found: Any) -> bool:
    """Whether it is what `write` puts into a file."""
    if not isinstance(found, dict) or found.get("format") != FORMAT or not found.keys() >= IDENTITY:
        return False
    shape = found["shape"]
    return isinstance(shape, list) and len(shape) == 3 and all(isinstance(side, int) and side > 0 for side in shape)


def check_made_with(file: StatisticsFile, extractor: Extractor, shape: Shape | None) -> None:
    """Raises BenchError when the file says that it is of another extractor, protocol or (unless None) size of images, and
    when its dimension is not the extractor's. What a file does not say is taken on its user's word."""
    now = about_extractor(extractor) | ({} if shape is None else {"shape": list(shape)})
    then = file.identity if file.identity else {"shape": list(file.shape) if file.shape else now.get("shape")}
    for key, value in now.items():
        if key in then and then[key] != value:
            given = f"{file.path} was made with {key.replace('_', ' ')} {shown(then[key])}"
            raise BenchError(given, f"{shown(value)}, as now", "Name another file, or make one: `bench stats build`.")
    dim = npz.header(file.path, "mu").shape
    if dim != (extractor.dim,):
        given = f"{file.path}: mu has the shape {dim}"
        raise BenchError(given, f"({extractor.dim},), the dimension of extractor {extractor.name}", "Name a file made with it.")
    width, spatial = getattr(extractor, "spatial_dim", 0), "mu_s" in file.members
    if width and spatial and npz.header(file.path, "mu_s").shape != (width,):
        given = f"{file.path}: mu_s has the shape {npz.header(file.path, 'mu_s').shape}"
        raise BenchError(given, f"({width},), as extractor {extractor.name} has it", "Name a file made with it.")


def about_extractor(extractor: Extractor) -> dict[str, Any]:
    """The part of an identity that says what looked at the images."""
    conditions = json.loads(json.dumps(conditions_of(extractor)))  # as they come back from a file
    return {"extractor": extractor.name, "extractor_digest": extractor.digest, "conditions": conditions}


def shown(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) < 200 else f"{text[:200]}..."


# Writing


def write(path: Path, identity: Mapping[str, Any], found: Measured, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The file and its manifest, each whole or not at all; returns the manifest. Raises BenchError or RunFailed."""
    arrays: dict[str, Any] = {"identity": np.array(json.dumps({"format": FORMAT, **identity}, sort_keys=True))}
    for (mean, covariance), part in zip(PAIRS.items(), (found.statistics, found.spatial), strict=True):
        if part:
            arrays |= {mean: part.mean.numpy(), covariance: part.covariance.numpy()}
    if found.features is not None:
        arrays["features"] = found.features.numpy()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, n=np.array(found.statistics.n), **arrays)
    data = buffer.getvalue()
    manifest = {
        "format": FORMAT,
        "file": path.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "dim": len(found.statistics.mean),
        "features": 0 if found.features is None else len(found.features),
        "spatial": 0 if found.spatial is None else len(found.spatial.mean),
        "identity": {"format": FORMAT, **identity},
        **manifest,
    }
    # In this order: whenever the process is killed, a file that is there has a manifest.
    write_atomic(manifest_path(path), json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    write_atomic(path, data)
    return manifest


def manifest_path(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.npz')}.json")


def read_manifest(path: Path) -> dict[str, Any]:
    """What lies beside the file; empty where there is none, or a .json of something else."""
    beside = manifest_path(path)
    try:
        manifest = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BenchError(f"{beside} is damaged ({error})", "the manifest of that file", "Restore it, or delete it.") from error
    if not isinstance(manifest, dict) or not manifest.keys() >= {"sha256", "identity", "format"}:
        return {}  # of something else
    if not is_identity(manifest["identity"]) or not isinstance(manifest.get("source", {}), dict):
        raise BenchError(f"{beside} is damaged (its entries are not those of a manifest)", "the manifest of that file",
                         "Restore it, or delete it.")  # fmt: skip
    return manifest
