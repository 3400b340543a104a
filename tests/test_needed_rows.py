"""Guiding velocities of the rows that use none are left out on a CPU: the same loss and gradient, for less."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import methods
from methods import _path

GUIDED = {"meanflow": {"kappa": 0.5, "omega": 1.0}, "soflow": {"guidance": 3.0, "mix": 0.25}}
BATCH = 16


class Counting(nn.Module):
    """Rows of the calls without gradient at s = t, which are those of the guiding velocities."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, dtype=torch.float64)
        self.table = nn.Embedding(4, 4, dtype=torch.float64)
        self.rows: list[int] = []

    def forward(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        if not torch.is_grad_enabled() and t is s:
            self.rows.append(len(x))
        found = self.layer(x.flatten(1) + self.table(label) * t[:, None] + s[:, None])
        return torch.tanh(found).reshape(x.shape)


def result(name: str, drop: Tensor, **more: Any) -> tuple[Tensor, list[Tensor], list[int]]:
    torch.manual_seed(0)
    net = Counting()
    method = methods.load(name, num_classes=3, **GUIDED[name] | more)
    x0, label = torch.randn(BATCH, 1, 2, 2, dtype=torch.float64), torch.arange(BATCH) % 3
    draw = method.draw(x0, label, torch.Generator().manual_seed(1), 0.5)
    draw = type(draw)(**vars(draw) | {"drop": drop})
    loss = method.loss(net, x0, label, draw)["loss"]
    loss.mean().backward()
    return loss.detach(), [p.grad for p in net.parameters() if p.grad is not None], net.rows


def all_rows(_: Tensor, net: Any, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = net(x, t, t, label)
    return found


def at(*rows: int) -> Tensor:
    return torch.isin(torch.arange(BATCH), torch.tensor(rows))


DROPS = {"none": at(), "a velocity row": at(3), "one of each kind": at(0, 13), "all velocity rows": at(*range(12))}


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS.keys())
@pytest.mark.parametrize("name", GUIDED)
def test_what_is_left_out_changes_nothing(name: str, drop: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, gradients, rows = result(name, drop)
    monkeypatch.setattr(_path, "velocity_where", all_rows)
    whole, expected, all_of_them = result(name, drop)
    torch.testing.assert_close(loss, whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients, expected, rtol=1e-12, atol=1e-14)
    jump = ~drop[12:]
    assert rows == [int((~drop).sum()) + int(jump.sum())]
    assert all_of_them == [BATCH + 4]


@pytest.mark.parametrize("name", GUIDED)
def test_nobody_guided_is_no_call(name: str) -> None:
    loss, _, rows = result(name, at(*range(BATCH)))
    assert rows == []
    assert loss.isfinite().all()


def test_outside_the_interval_nothing_is_guided() -> None:
    _, _, rows = result("meanflow", at(), guidance_interval=(2.0, 3.0))
    assert rows == []


@pytest.mark.parametrize("name", GUIDED)
def test_where_counting_would_wait_all_are_computed(name: str) -> None:
    """The meta device has no values to count, as a compiled loss has none; it stands for a GPU."""
    method = methods.load(name, num_classes=3, **GUIDED[name])
    x0, label = torch.randn(BATCH, 1, 2, 2, dtype=torch.float64), torch.arange(BATCH) % 3
    draw = method.draw(x0, label, torch.Generator().manual_seed(1), 0.5)
    net = Counting().to("meta")
    method.loss(net, x0.to("meta"), label.to("meta"), methods.each(draw, lambda field: field.to("meta")))
    assert net.rows == [BATCH + 4]
