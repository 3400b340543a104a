"""Reading a weight file that somebody else wrote: plain tensors only, nothing in it is run.

    contents = read(Path("ckpt.pt"), "ema")     # contents.state: names -> tensors, which map the file where that is possible

Reads torch's files through its unpickler of plain tensors, and safetensors. Raises BenchError for anything else.
"""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.errors import BenchError

AVERAGED = ("ema_model", "ema", "model_ema", "ema_state_dict")  # what files call the averaged weights
RAW = ("model", "net", "net_model")  # and those that were averaged
EITHER = ("state_dict",)  # and what may be both
COUNTERS = ("step", "steps", "global_step", "train_steps", "now_steps", "iteration")
PLAIN = "a torch file of plain tensors, or a .safetensors file"


@dataclass(frozen=True)
class Contents:
    state: dict[str, Tensor]
    weights: str  # ema | raw | unknown, where the file does not say
    steps: int | None = None  # of training, where the file counts them
    beside: tuple[str, ...] = field(default=())  # what else is in the file, and was not taken


def read(path: Path, wanted: str) -> Contents:
    """The weights that are `wanted`: ema or raw. A file that holds one unnamed set of weights has them as "unknown"."""
    if not path.is_file():
        raise BenchError(f"{path} is no file", PLAIN, "Correct the path.")
    held = _safetensors(path) if _is_safetensors(path) else _torch(path)
    entries, steps = _entries(held), next((int(held[k]) for k in COUNTERS if isinstance(held.get(k), int)), None)
    if not entries:
        given = f"{path} holds no weights: {_some(held) or 'it is empty'}"
        raise BenchError(given, "names with tensors, as torch.save(model.state_dict(), FILE) writes", "Choose another file.")
    name, weights = _choose(path, entries, wanted)
    beside = tuple(sorted(str(key) for key in held if key != name)) if name else ()
    return Contents(_tensors(path, entries[name]), weights, steps, beside)


def _choose(path: Path, entries: Mapping[str, Any], wanted: str) -> tuple[str, str]:
    """The entry that is wanted, and what it is. Raises BenchError when the file has only the other kind."""
    names, other = (AVERAGED, RAW) if wanted == "ema" else (RAW, AVERAGED)
    for name in names:
        if name in entries:
            return name, wanted
    for name in ("", *EITHER):
        if name in entries:
            return name, "unknown"
    there = next(name for name in other if name in entries)
    given = f"{path} has no {'averaged' if wanted == 'ema' else 'raw'} weights, only {there!r}"
    remedy = f"Take those with {'--raw' if wanted == 'ema' else '--ema'}, or choose another file."
    raise BenchError(given, f"an entry {' or '.join(names)}", remedy)


def _entries(held: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The sets of weights in the file by name; "" for one that is the whole file."""
    known = (*AVERAGED, *RAW, *EITHER)
    found = {key: held[key] for key in known if isinstance(held.get(key), Mapping) and held[key]}
    if not found and held and all(isinstance(value, Tensor) for value in held.values()):
        return {"": held}
    return found


def _tensors(path: Path, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """`state` once it is known to hold dense, floating point tensors by name, and nothing else."""
    for key, value in state.items():
        dense = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
        if not isinstance(key, str) or not dense or not value.is_floating_point():
            given = f"{path}: {key!r} is {_kind(value)}"
            raise BenchError(given, "a name and a dense tensor of floating point numbers", "Choose another file.")
    return {key: value.detach() for key, value in state.items()}


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"of type {type(value).__name__}"
    return f"a tensor of {str(value.dtype).removeprefix('torch.')}, {str(value.layout).removeprefix('torch.')}"


def _some(names: Mapping[Any, Any]) -> str:
    """The first few names, for messages."""
    shown = [str(name) for name in list(names)[:3]]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


# The two formats


def _is_safetensors(path: Path) -> bool:
    """By its first bytes: eight of the header's length, then JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _safetensors(path: Path) -> dict[str, Any]:
    """Names with tensors; where the names begin with those of entries, one table an entry, as in torch's files."""
    try:
        with safe_open(path, framework="pt") as file:
            ours = "bench" in (file.metadata() or {})
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise BenchError(f"{path} can not be read ({_reason(error)})", PLAIN, "Copy or download it again.") from error
    if ours:
        given = f"{path} is a snapshot or a state of this suite"
        raise BenchError(given, "a file that others wrote", "Copy its run's folder into runs/: `bench eval` takes it there.")
    if not any(name.startswith(tuple(f"{kind}." for kind in AVERAGED)) for name in flat):
        return flat
    held: dict[str, Any] = {}
    for name, value in flat.items():
        entry, _, rest = name.partition(".")
        held.setdefault(entry, {})[rest] = value
    return held


def _torch(path: Path) -> Mapping[str, Any]:
    mapped = zipfile.is_zipfile(path)  # the older form can not be mapped, and is read into memory
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages and versions: nothing for the user to do
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise _unplain(path, error) from error
    except Exception as error:  # a damaged or hostile file makes torch's reader fail in more ways than it documents
        raise BenchError(f"{path} can not be read ({_reason(error)})", PLAIN, "Copy or download it again.") from error
    if not isinstance(held, Mapping):
        raise BenchError(f"{path} holds {_kind(held)}, no names", PLAIN, "Choose another file.")
    return held


def _unplain(path: Path, error: Exception) -> BenchError:
    """The refusal of a pickle that asks for more than tensors: to read it, its code would have to be run."""
    _, found, rest = str(error).partition("GLOBAL ")
    what = f"it asks for {rest.split()[0]}" if found else _reason(error)
    return BenchError(
        f"{path} holds more than tensors, or is damaged ({what}); reading that would run code out of the file",
        PLAIN,
        "Where you trust it, write its weights alone, on another machine: torch.save({'ema': checkpoint['ema']}, OTHER).",
    )


def _reason(error: BaseException) -> str:
    """The first line of an error, at most about one line long."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160].rstrip(".")
