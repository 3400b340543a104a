"""The methods under comparison: one paper, one file, pure torch.

A file NAME.py in this folder with a frozen dataclass called `Method` is a method: it is found by its file name and
imported only when asked for. It imports torch and, of ours, only `_path`.

    method = methods.load("soflow", num_classes=10, guidance=1.0)
    draw = method.draw(x0, label, generator, progress=0.5)
    loss = method.loss(net, x0, label, draw)["loss"].mean()
    images = method.sample(net, noise, label, steps=1)
"""

import dataclasses
import difflib
import importlib
import math
import pkgutil
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from methods._path import Network


class Draw(Protocol):
    """All randomness of one training batch. Every field is a tensor whose first axis is the batch."""

    @property
    def noise(self) -> Tensor: ...  # (B, C, H, W), standard normal

    @property
    def t(self) -> Tensor: ...  # (B,) in [0, 1]

    @property
    def drop(self) -> Tensor: ...  # (B,) bool: the label is replaced by the null label


class Method(Protocol):
    """What a method is to the suite. Its dataclass fields are the paper's hyperparameters, its defaults the paper's."""

    num_classes: int  # the null label is num_classes

    @property
    def cost(self) -> float:
        """Forward-equivalents per training image (a backward pass is 2), by counting; not a measurement."""
        ...

    def velocity_rows(self, batch: int) -> int:
        """How many rows, the first ones, learn the velocity itself (s = t). A fixed count, so shapes are static."""
        ...

    def draw(self, x0: Tensor, label: Tensor, generator: torch.Generator, progress: float) -> Any:
        """All randomness of a batch; `progress` is the share of training done, in [0, 1].

        Of x0 and label only the shapes count: the draw is of the whole batch, of which a process may hold a part.
        """
        ...

    def residual(self, net: Network, x_t: Tensor, v: Tensor, draw: Any, label: Tensor | None = None) -> Tensor:
        """The paper's identity (B, C, H, W) at given points and velocity: zero at the exact solution.

        Without guidance. `label` defaults to the null label.
        """
        ...

    def loss(self, net: Network, x0: Tensor, label: Tensor, draw: Any) -> dict[str, Tensor]:
        """ "loss" (B,) to be averaged; the other entries (B,), detached, are for the log ("mse" always).

        Row i depends on row i of the arguments alone, so that a batch can be cut and shared out. Under bfloat16 `net` has an
        attribute `exact`, the same network in float32, for what would be lost in 8 bits.
        """
        ...

    def sample(self, net: Network, noise: Tensor, label: Tensor, steps: int, renoise: Any = None) -> Tensor:
        """Noise -> x0 in `steps` network evaluations an image; deterministic given its arguments.

        `renoise` holds steps - 1 further noises like `noise`, for samplers that put noise back; None uses `noise`.
        """
        ...


def names() -> list[str]:
    """The methods found in this folder, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def method_class(name: str) -> type[Any]:
    """The `Method` dataclass of `name`. Raises ValueError for a name that is not there."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"method {name!r}{hint}; allowed: {', '.join(names())}")
    cls: type[Any] = importlib.import_module(f"methods.{name}").Method
    return cls


def load(name: str, *, num_classes: int, **hyperparameters: Any) -> Method:
    """The method `name` with the paper's hyperparameters, changed where given. Raises ValueError, saying what is allowed."""
    cls = method_class(name)
    defaults = {field.name: field.default for field in dataclasses.fields(cls) if field.name != "num_classes"}
    for key, value in hyperparameters.items():
        if key not in defaults:
            close = difflib.get_close_matches(key, defaults, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"hyperparameter {key!r} of {name}{hint}; allowed: {', '.join(defaults)}")
        _check_kind(key, value, defaults[key])
    method: Method = cls(num_classes=num_classes, **hyperparameters)
    return method


def _check_kind(key: str, value: Any, default: Any) -> None:
    """Raise ValueError unless `value` is of the default's kind: a name, a finite number, or as many finite numbers."""
    if isinstance(default, str):
        good, allowed = isinstance(value, str), "a name"
    elif isinstance(default, tuple):
        good = isinstance(value, list | tuple) and len(value) == len(default) and all(map(_is_number, value))
        allowed = f"{len(default)} finite numbers"
    else:
        good, allowed = _is_number(value), "a finite number"
    if not good:
        raise ValueError(f"{key} = {value!r}; allowed: {allowed}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


D = TypeVar("D")


def each(draw: D, change: Callable[[Tensor], Tensor]) -> D:
    """The draw with `change` applied to every field: moved to a device, or cut to some of the rows."""
    fields = dataclasses.fields(draw)  # type: ignore[arg-type]
    return dataclasses.replace(draw, **{f.name: change(getattr(draw, f.name)) for f in fields})  # type: ignore[type-var]


def take(draw: D, rows: Tensor | slice) -> D:
    """The draw of some of the rows: what one process sees of the global batch."""
    return each(draw, lambda field: field[rows])
