"""Our losses, gradients and network against values computed with the published code (tests/parity/*.npz)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import methods
import paper
from bench.dit import DiT
from bench.importing.published import from_published
from methods import meanflow, soflow

FOLDER = Path(__file__).parent / "parity"
RELATIVE = 1e-12  # float64


def reference(name: str) -> dict[str, Any]:
    """The arrays as tensors, the single numbers as numbers."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: value.item() if value.ndim == 0 else torch.from_numpy(value) for key, value in file.items()}


def toy_parameters(case: dict[str, Any]) -> dict[str, Tensor]:
    names = [key.removeprefix("param_") for key in case if key.startswith("param_")]
    return {name: case[f"param_{name}"].clone().requires_grad_() for name in names}


def toy_net(weight: dict[str, Tensor]) -> Any:
    """The network of the reference values: one hidden layer."""

    def net(x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        times = t[:, None] * weight["wt"] + (t - s)[:, None] * weight["ws"]
        hidden = torch.tanh(x.flatten(1) @ weight["wx"] + times + weight["e"][label])
        return (hidden @ weight["wo"]).view_as(x)

    return net


def assert_same(ours: Tensor, published: Tensor | float) -> None:
    published = torch.as_tensor(published, dtype=torch.float64)
    assert ours.shape == published.shape
    assert (ours - published).abs().max() <= RELATIVE * published.abs().max()


def assert_same_gradients(loss: Tensor, weight: dict[str, Tensor], case: dict[str, Any]) -> None:
    assert_same(loss.mean().detach(), case["loss"])
    gradients = torch.autograd.grad(loss.mean(), list(weight.values()))
    for name, gradient in zip(weight, gradients, strict=True):
        assert_same(gradient, case[f"grad_{name}"])


def test_soflow_equals_the_published_code() -> None:
    case = reference("soflow_guided")
    method = methods.load(
        "soflow", num_classes=case["num_classes"], velocity_ratio=case["n_velocity"] / len(case["x0"]),
        guidance=case["guidance"], mix=case["mix"], p=case["p"], eps=case["eps"], guidance_cutoff=case["decay"],
    )  # fmt: skip
    draw = soflow.Draw(**{key: case[key] for key in ("noise", "t", "s", "l", "drop")})
    weight = toy_parameters(case)
    out = method.loss(toy_net(weight), case["x0"], case["label"], draw)
    assert_same_gradients(out["loss"], weight, case)
    n = case["n_velocity"]
    assert_same(out["loss"][:n].mean().detach(), case["vel"])
    assert_same(out["loss"][n:].mean().detach(), case["con"])
    assert_same(out["mse"][n:].mean(), case["con_mse"])


def test_soflow_draws_the_published_gap() -> None:
    """l = t + (s - t) rho on the jump rows, at the schedule's position of the reference."""
    case = reference("soflow_guided")
    method: Any = methods.load("soflow", num_classes=5, r_init=case["r0"], r_end=case["r1"])
    rows = slice(case["n_velocity"], None)
    t, s, l = case["t"][rows], case["s"][rows], case["l"][rows]  # noqa: E741 (the paper's letter)
    assert_same(torch.minimum(t + (s - t) * method.gap_ratio(case["progress"]), t - 1e-4), l)


def test_meanflow_equals_the_published_code() -> None:
    case = reference("meanflow_guided")
    method = methods.load(
        "meanflow", num_classes=case["num_classes"], omega=case["omega"], kappa=case["kappa"],
        guidance_interval=(case["t_start"], case["t_end"]), p=case["p"], eps=case["eps"],
    )  # fmt: skip
    draw = meanflow.Draw(**{key: case[key] for key in ("noise", "t", "r", "drop")})
    weight = toy_parameters(case)
    out = method.loss(toy_net(weight), case["x0"], case["label"], draw)
    assert_same(out["loss"].detach(), case["per"])
    assert_same_gradients(out["loss"], weight, case)


def test_the_transcription_equals_the_published_code() -> None:
    """paper.py, against which test_transcription.py compares everything else."""
    case = reference("soflow_guided")
    weight = toy_parameters(case)
    loss = paper.soflow(
        toy_net(weight), x0=case["x0"], e=case["noise"], y=case["label"], t=case["t"], s=case["s"], l=case["l"],
        drop=case["drop"], null=case["num_classes"], n_velocity=case["n_velocity"], guidance=case["guidance"],
        mix=case["mix"], cutoff=case["decay"], path="linear", parameterization="euler", p=case["p"], eps=case["eps"],
    )  # fmt: skip
    assert_same_gradients(loss, weight, case)
    case = reference("meanflow_guided")
    weight = toy_parameters(case)
    loss = paper.meanflow(
        toy_net(weight), x0=case["x0"], e=case["noise"], y=case["label"], t=case["t"], r=case["r"], drop=case["drop"],
        null=case["num_classes"], omega=case["omega"], kappa=case["kappa"], interval=(case["t_start"], case["t_end"]),
        p=case["p"], eps=case["eps"],
    )  # fmt: skip
    assert_same_gradients(loss, weight, case)


def published_dit() -> tuple[dict[str, Any], DiT, dict[str, Tensor]]:
    case = reference("dit")
    keys = ("image_size", "channels", "patch", "width", "depth", "heads", "num_classes")
    state = {key.removeprefix("sd_"): value for key, value in case.items() if key.startswith("sd_")}
    return case, DiT(**{key: case[key] for key in keys}), state


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_dit_loads_the_published_weights(prefix: str) -> None:
    case, net, state = published_dit()
    net.load_state_dict(from_published({prefix + key: value for key, value in state.items()}, net))
    with torch.no_grad():
        out = net(case["x"], case["t"], case["s"], case["label"])
    torch.testing.assert_close(out, case["out"], rtol=0, atol=1e-5)
    assert out.abs().mean() > 0.01, "the reference is not trivial"


def test_from_published_refuses_another_network() -> None:
    _, net, state = published_dit()
    with pytest.raises(ValueError, match="positions"):
        from_published(state | {"pos_embed": state["pos_embed"].flip(1)}, net)
    with pytest.raises(ValueError, match="positions"):
        from_published(state | {"pos_embed": state["pos_embed"][:, :4]}, net)
    without = {key: value for key, value in state.items() if not key.startswith("s_embedder")}
    with pytest.raises(ValueError, match=r"missing \['s_embedder"):
        from_published(without, net)
    with pytest.raises(ValueError, match=r"unexpected \['more"):
        from_published(state | {"more": state["pos_embed"]}, net)
