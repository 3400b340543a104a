"""Training states and snapshots: safetensors, written whole or not at all, checked by digest when read.

save_state(folder, state)              # the two newest are kept
state = load_state(folder, report)     # the newest that is whole; a damaged one falls back to the one before, loudly
"""

import errno
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import BenchError
from bench.store import replacing

KEEP = 2


@dataclass(frozen=True)
class State:
    """Everything that training goes on from: after `images`, for the settings with this digest."""

    images: int
    config_digest: str
    data_digest: str
    tensors: dict[str, Tensor]  # "net.*", "ema.*", "optimiser.<parameter>.<exp_avg|exp_avg_sq|step>"


# Files with a digest


def content_digest(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)  # no copy, and other threads run meanwhile
    return digest.hexdigest()


def whole_digest(tensors: dict[str, Tensor], facts: dict[str, Any]) -> str:
    """sha256 of the content and of what the header says of it."""
    return _with_facts(content_digest(tensors), facts)


def _with_facts(content: str, facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([content, facts], sort_keys=True).encode()).hexdigest()


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """A safetensors file with JSON `facts` and the content's digest in its header."""
    clean = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header = {"bench": json.dumps({**facts, "digest": whole_digest(clean, facts)})}
    with replacing(path) as temporary:
        try:
            save_file(clean, temporary, header)
        except SafetensorError as error:  # the system's error, in words
            full = "No space left" in str(error) or "StorageFull" in str(error)
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of a file that `write_tensors` made. Raises BenchError when it is damaged or another's."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["bench"])
            # Clones: what is read maps the file, and would change with it after the digest was checked.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
        digest = facts.pop("digest")
        content = content_digest(tensors)
        whole = digest in (_with_facts(content, facts), content)  # the latter: of files from before the facts were covered
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise BenchError(f"{path} can not be read ({error})", "a file written by `bench run`", "Delete it.") from error
    if not whole:
        raise BenchError(f"{path} is damaged: its content does not match its digest", "a whole file", "Delete it.")
    return tensors, facts | {"digest": digest}


# States


def state_files(folder: Path) -> list[Path]:
    """The states found, newest first."""
    found = [p for p in folder.glob("*.safetensors") if re.fullmatch(r"\d{12}", p.stem)] if folder.is_dir() else []
    return sorted(found, reverse=True)


def save_state(folder: Path, state: State) -> None:
    facts = {"images": state.images, "config_digest": state.config_digest, "data_digest": state.data_digest}
    write_tensors(folder / f"{state.images:012d}.safetensors", state.tensors, facts)
    for old in state_files(folder)[KEEP:]:
        old.unlink(missing_ok=True)


def load_state(folder: Path, report: Callable[[str], None]) -> State | None:
    """The newest whole state; None when there is none. Raises BenchError when there are some and all are damaged."""
    files = state_files(folder)
    for path in files:
        try:
            tensors, facts = read_tensors(path)
            return State(facts["images"], facts["config_digest"], facts["data_digest"], tensors)
        except BenchError as error:
            report(f"{error.given}; trying the state before it")
    if files:
        raise BenchError(
            f"No state in {folder} is whole", "one of the last two states", f"Delete {folder.parent} to start that run anew."
        )
    return None


def pack(net: nn.Module, ema: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Network, average and optimiser as one flat dictionary of tensors."""
    tensors = {f"net.{k}": v for k, v in net.state_dict().items()} | {f"ema.{k}": v for k, v in ema.state_dict().items()}
    for name, parameter in net.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{name}.{key}"] = value
    return tensors


def unpack(tensors: dict[str, Tensor], net: nn.Module, ema: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put a packed state back, each tensor on its parameter's device."""
    for prefix, module in (("net.", net), ("ema.", ema)):
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    for name, parameter in net.named_parameters():
        prefix = f"optimiser.{name}."
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if state:
            optimiser.state[parameter] = {k: v.to(parameter.device) for k, v in state.items()}  # fused: the step counter too


# Snapshots: the averaged weights and the settings, all that sampling, evaluation and speed need


@dataclass(frozen=True)
class Snapshot:
    images: int
    config: dict[str, Any]  # of RunConfig
    shape: tuple[int, int, int]
    num_classes: int
    data_digest: str
    weights: dict[str, Tensor]


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    facts = {
        "images": snapshot.images,
        "config": snapshot.config,
        "shape": list(snapshot.shape),
        "num_classes": snapshot.num_classes,
        "data_digest": snapshot.data_digest,
    }
    write_tensors(path, snapshot.weights, facts)


def load_snapshot(path: Path) -> Snapshot:
    """Raises BenchError when the file is damaged or is no snapshot."""
    weights, facts = read_tensors(path)
    try:
        c, h, w = facts["shape"]
        return Snapshot(facts["images"], facts["config"], (c, h, w), facts["num_classes"], facts["data_digest"], weights)
    except (KeyError, TypeError, ValueError) as error:
        raise BenchError(f"{path} is no snapshot", "a file of some run's snapshots/", "Name one of those.") from error
