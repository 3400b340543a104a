"""What every method promises, checked on whatever `methods.names()` finds: a new file is tested the moment it exists.

The checks take a method's module. What only one method promises (its times, its schedules) is in test_draws.py.
"""

import ast
import dataclasses
import importlib
import importlib.util
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import methods
from bench.shares import share_of

CLASSES = 3
ROWS = 8
X0 = torch.randn(ROWS, 2, 4, 4, generator=torch.Generator().manual_seed(0))
LABEL = torch.arange(ROWS) % CLASSES


class Net(nn.Module):
    """The smallest network that sees every input."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(0.5 * torch.randn(5, generator=generator))
        self.table = nn.Parameter(torch.randn(CLASSES + 1, generator=generator))

    def forward(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        a, b, c, d, e = self.weight.to(x.dtype)
        condition = (b * t + c * (t - s) + self.table.to(x.dtype)[label])[:, None, None, None]
        return d * torch.tanh(a * x + condition) + e


def generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fields(draw: Any) -> dict[str, Tensor]:
    return {field.name: getattr(draw, field.name) for field in dataclasses.fields(draw)}


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(fields(a).values(), fields(b).values(), strict=True))


def check_dataclass(module: Any) -> None:
    """Frozen, keyword-only, every hyperparameter with a default except num_classes."""
    cls = module.Method
    assert cls.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(cls))
    without = [f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING]
    assert without == ["num_classes"]
    assert cls(num_classes=CLASSES) == cls(num_classes=CLASSES)
    assert hash(cls(num_classes=CLASSES)) == hash(cls(num_classes=CLASSES))
    assert cls(num_classes=CLASSES).cost >= 3


def check_draw(module: Any) -> None:
    """Tensors with the batch first, times in [0, 1] and in order, the velocity rows first."""
    method = module.Method(num_classes=CLASSES)
    for progress in (0.0, 0.5, 1.0):
        for seed in range(10):
            draw = method.draw(X0, LABEL, generator(seed), progress)
            assert draw.__dataclass_params__.frozen
            given = fields(draw)
            assert {"noise", "t", "drop"} <= set(given)
            assert given.pop("noise").shape == X0.shape
            assert draw.noise.dtype == X0.dtype
            assert draw.drop.dtype == torch.bool
            assert given.pop("drop").shape == (ROWS,)
            assert all(time.shape == (ROWS,) and time.dtype == X0.dtype for time in given.values())
            assert all(((time >= 0) & (time <= 1)).all() for time in given.values())
            check_order(given, method.velocity_rows(ROWS))


def check_order(times: dict[str, Tensor], n: int) -> None:
    """r <= t, s <= l <= t, and all equal on exactly the first n rows."""
    assert 0 <= n <= ROWS
    t, middle = times["t"], times.get("l", times["t"])
    end = times.get("r", times.get("s", t))
    assert (end <= middle).all()
    assert (middle <= t).all()
    assert (t[:n] == end[:n]).all()
    assert (t[:n] == middle[:n]).all()
    assert (end[n:] < t[n:]).all()
    assert (middle[n:] < t[n:]).all() or "l" not in times


def check_draw_is_deterministic(module: Any) -> None:
    method = module.Method(num_classes=CLASSES)
    state = torch.get_rng_state()
    first, again, other = (method.draw(X0, LABEL, generator(seed), 0.5) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state), "a draw moves the global generator"
    assert same(first, again)
    assert not same(first, other)
    double = method.draw(X0.double(), LABEL, generator(), 0.5)
    assert all(field.dtype in (torch.float64, torch.bool) for field in fields(double).values())


def check_drop_rate(module: Any) -> None:
    n = 20_000
    for rate in (0.0, 0.1, 0.5):
        method = module.Method(num_classes=CLASSES, label_drop=rate)
        drop = method.draw(torch.zeros(n, 1, 1, 1), torch.zeros(n, dtype=torch.int64), generator(), 0.0).drop
        assert abs(drop.double().mean() - rate) <= 4 * (rate * (1 - rate) / n) ** 0.5


def check_loss(module: Any) -> None:
    """(B,) entries, finite, differentiable; a function of the arguments alone; each row's loss is its own."""
    method, net = module.Method(num_classes=CLASSES), Net()
    draw = method.draw(X0, LABEL, generator(), 0.5)
    state = torch.get_rng_state()
    out = method.loss(net, X0, LABEL, draw)
    assert torch.equal(torch.get_rng_state(), state), "a loss moves the global generator"
    assert {"loss", "mse"} <= set(out)
    assert all(value.shape == (ROWS,) and value.isfinite().all() for value in out.values())
    assert out["loss"].requires_grad
    assert not any(value.requires_grad for key, value in out.items() if key != "loss")
    assert (out["mse"] > 0).all()
    for gradient in torch.autograd.grad(out["loss"].mean(), list(net.parameters())):
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0
    n = method.velocity_rows(ROWS)  # rows may change places within their kind
    order = torch.cat([torch.arange(n).flip(0), torch.arange(n, ROWS).flip(0)])
    permuted = method.loss(net, X0[order], LABEL[order], methods.take(draw, order))
    torch.testing.assert_close(permuted["loss"], out["loss"][order])
    double = method.loss(net, X0.double(), LABEL, method.draw(X0.double(), LABEL, generator(), 0.5))
    assert all(value.dtype == torch.float64 for value in double.values())


def check_a_batch_can_be_cut(module: Any) -> None:
    """A draw needs shapes alone, and a row's loss its own row alone: what several processes and micro-batches rest on."""
    method, net = module.Method(num_classes=CLASSES), Net()
    draw = method.draw(X0, LABEL, generator(), 0.5)
    assert same(draw, method.draw(torch.zeros_like(X0), torch.zeros_like(LABEL), generator(), 0.5))
    whole = method.loss(net, X0, LABEL, draw)
    shares = [share_of(ROWS, method.velocity_rows, rank, 2) for rank in range(2)]
    for rows in (share.rows for share in shares):
        part = method.loss(net, X0[rows], LABEL[rows], methods.take(draw, rows))
        for name, value in part.items():
            torch.testing.assert_close(value, whole[name][rows], rtol=1e-5, atol=1e-6)


def check_label_reaches_the_loss(module: Any) -> None:
    """Through the network, but not on the dropped rows."""
    method, net = module.Method(num_classes=CLASSES), Net()
    draw = dataclasses.replace(method.draw(X0, LABEL, generator(), 0.5), drop=torch.arange(ROWS) % 2 == 1)
    a, b = (method.loss(net, X0, label, draw)["mse"] for label in (LABEL, (LABEL + 1) % CLASSES))
    assert torch.equal(a == b, draw.drop)


def check_residual(module: Any) -> None:
    """The label is optional: the null label without it."""
    method, net = module.Method(num_classes=CLASSES), Net()
    draw = method.draw(X0, LABEL, generator(), 0.5)
    residual = method.residual(net, X0, draw.noise, draw)
    assert residual.shape == X0.shape
    assert residual.isfinite().all()
    assert torch.equal(residual, method.residual(net, X0, draw.noise, draw, torch.full_like(LABEL, CLASSES)))
    assert not torch.equal(residual, method.residual(net, X0, draw.noise, draw, LABEL))


def check_sample(module: Any) -> None:
    method, net = module.Method(num_classes=CLASSES), Net()
    renoise = [torch.randn(X0.shape, generator=generator(seed)) for seed in range(3)]
    state = torch.get_rng_state()
    for steps in (1, 2, 4):
        first, again = (method.sample(net, X0, LABEL, steps, renoise) for _ in range(2))
        assert first.shape == X0.shape
        assert first.dtype == X0.dtype
        assert not first.requires_grad
        assert first.isfinite().all()
        assert torch.equal(first, again)
        one = method.sample(net, X0[2:3], LABEL[2:3], steps, [noise[2:3] for noise in renoise])
        torch.testing.assert_close(one, first[2:3])
        assert method.sample(net, X0.double(), LABEL, steps).dtype == torch.float64, "renoise may be left out"
    assert torch.equal(torch.get_rng_state(), state), "a sampler moves the global generator"
    for steps in (0, -1):
        with pytest.raises(ValueError, match=f"steps = {steps}; allowed: a positive"):
            method.sample(net, X0, LABEL, steps)


def check_file(module: Any) -> None:
    """One paper on a page: the arXiv number in the docstring, no import but torch, the standard library and _path."""
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    assert re.search(r"arXiv \d{4}\.\d{5}", (module.__doc__ or "").splitlines()[0])
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert {a.name.split(".")[0] for a in node.names} <= sys.stdlib_module_names | {"torch"}
        elif isinstance(node, ast.ImportFrom):
            root = (node.module or "").split(".")[0]
            ours = node.module == "methods._path" or (node.module == "methods" and [a.name for a in node.names] == ["_path"])
            assert node.level == 0
            assert ours or root in sys.stdlib_module_names | {"torch"}, f"imports {node.module}"


def check_hyperparameters(module: Any) -> None:
    """A mistake names what is allowed."""
    name = module.__name__.removeprefix("methods.")
    with pytest.raises(ValueError, match=r"'label_drip'.*did you mean 'label_drop'.*allowed: .*label_drop"):
        methods.load(name, num_classes=CLASSES, label_drip=0.1)
    for value in (-0.1, 1.5):
        with pytest.raises(ValueError, match=rf"label_drop = {value}; allowed: 0 <= label_drop"):
            methods.load(name, num_classes=CLASSES, label_drop=value)


CHECKS: list[Callable[[Any], None]] = [
    check_dataclass, check_draw, check_draw_is_deterministic, check_drop_rate, check_loss, check_a_batch_can_be_cut,
    check_label_reaches_the_loss, check_residual, check_sample, check_file, check_hyperparameters,
]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", methods.names())
def test_contract(name: str, check: Callable[[Any], None]) -> None:
    check(importlib.import_module(f"methods.{name}"))


# A plug-in


@pytest.fixture
def scratch_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A method in a file of its own, outside the package: what a reader adds."""
    origin = importlib.util.find_spec("methods.flow_matching")
    assert origin is not None
    assert origin.origin is not None
    copy = Path(shutil.copy(origin.origin, tmp_path / "scratch_method.py"))
    text = copy.read_text(encoding="utf-8")
    assert text.count('time: str = "uniform"') == 1
    copy.write_text(text.replace('time: str = "uniform"', 'time: str = "logit_normal"'), encoding="utf-8")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    yield "scratch_method"
    sys.modules.pop("methods.scratch_method", None)
    vars(methods).pop("scratch_method", None)


def test_a_new_file_is_a_method(scratch_method: str) -> None:
    assert scratch_method in methods.names()
    assert methods.load(scratch_method, num_classes=CLASSES).time == "logit_normal"  # type: ignore[attr-defined]
    for check in CHECKS:
        check(importlib.import_module(f"methods.{scratch_method}"))


def test_unknown_method() -> None:
    assert {"flow_matching", "meanflow", "soflow"} <= set(methods.names())
    with pytest.raises(ValueError, match=rf"'soflw' \(did you mean 'soflow'\?\); allowed: {', '.join(methods.names())}$"):
        methods.load("soflw", num_classes=CLASSES)
    with pytest.raises(ValueError, match="'_path'; allowed"):
        methods.load("_path", num_classes=CLASSES)
