"""The network: sizes, cost, embeddings, initialisation, attention backends. Published weights are in test_parity.py."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bench import config, dit, nets

LATENT, CLASSES = (4, 32, 32), 1000
NANO = (3, 8, 8)  # the shape for the small network of these tests


def meta(name: str) -> dit.DiT:
    with torch.device("meta"):
        return dit.build(name, LATENT, CLASSES)


def random_net(name: str = "N/2") -> dit.DiT:
    """Zero gates would make the output 0 whatever the input."""
    net = dit.build(name, NANO, 5)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return net


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = torch.randn(4, *NANO, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor([0.2, 0.5, 0.9, 1.0]), torch.tensor([0.1, 0.0, 0.8, 0.3]), torch.tensor([0, 2, 4, 5])


# Size and cost


@pytest.mark.parametrize(
    ("name", "millions"), [("B/4", 131.2), ("B/2", 131.1), ("M/2", 308.0), ("L/2", 459.1), ("XL/2", 676.4)]
)
def test_parameter_count(name: str, millions: float) -> None:
    assert dit.parameter_count(meta(name)) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize(("name", "gmacs"), [("B/4", 5.56), ("B/2", 23.0), ("M/2", 53.8), ("L/2", 80.7), ("XL/2", 118.6)])
def test_forward_macs(name: str, gmacs: float) -> None:
    assert dit.forward_macs(name, LATENT, CLASSES) / 1e9 == pytest.approx(gmacs, rel=0.005)


@pytest.mark.parametrize("name", ["B", "B/3", "Q/2", "b/4", "B/"])
def test_unknown_net(name: str) -> None:
    with pytest.raises(ValueError, match=r"allowed: one of N, T, S, B, M, L, XL, a slash, and a patch"):
        nets.fit(name, (4, 32, 32))


def test_patch_that_does_not_divide() -> None:
    with pytest.raises(ValueError, match=r"'N/8': patch 8 does not divide the image size 12; allowed: N/1, N/2, N/4$"):
        dit.build("N/8", (3, 12, 12), 5)
    with pytest.raises(ValueError, match="8 x 12; allowed: square images"):
        dit.build("N/2", (3, 8, 12), 5)


# Embeddings


def test_frequencies() -> None:
    """cos(w t) then sin(w t), w from 1 down to (nearly) 1 / 10000; t is not scaled by 1000."""
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    ours = dit.frequencies(t)
    assert ours.shape == (3, 256)
    for i, time in enumerate(t.tolist()):
        for k in range(128):
            angle = time * 10000 ** (-k / 128)
            assert ours[i, k] == pytest.approx(math.cos(angle), abs=1e-6)
            assert ours[i, 128 + k] == pytest.approx(math.sin(angle), abs=1e-6)


def test_positions() -> None:
    """Token (row, column): sines and cosines of the column, then of the row."""
    width, grid = 16, 3
    ours = dit.position_embedding(width, grid)
    assert ours.shape == (1, grid * grid, width)
    for row in range(grid):
        for column in range(grid):
            expected = []
            for place in (column, row):
                angles = [place / 10000 ** (k / (width // 4)) for k in range(width // 4)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            assert ours[0, row * grid + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_token_is_a_patch() -> None:
    """What unpatchify puts back is where the patch embedder took it from."""
    net = dit.build("N/2", NANO, 5)
    pixels = torch.arange(math.prod(NANO), dtype=torch.float32).reshape(1, *NANO)
    patches = [pixels[0, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] for i in range(4) for j in range(4)]
    tokens = torch.stack([patch.permute(1, 2, 0).flatten() for patch in patches])[None]  # channels last in a token
    assert torch.equal(net.unpatchify(tokens), pixels)
    embedded = net.x_embedder(pixels)
    weight, bias = net.x_embedder.proj.weight.flatten(1), net.x_embedder.proj.bias
    expected = torch.stack([patch.flatten() for patch in patches]) @ weight.T + bias
    torch.testing.assert_close(embedded[0], expected)


# Forward


def test_output_is_zero_at_initialisation() -> None:
    out = dit.build("N/2", NANO, 5)(*inputs())
    assert out.shape == (4, *NANO)
    assert (out == 0).all()


def test_initialisation() -> None:
    """Zero gates; embedders of standard deviation 0.02; the blocks' weights are Xavier's."""
    torch.manual_seed(0)
    net = dit.build("S/2", NANO, 1000)
    small = [net.t_embedder.mlp[0], net.t_embedder.mlp[2]]
    for weight in (net.y_embedder.embedding_table.weight, *(layer.weight for layer in small)):
        assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    qkv = net.blocks[0].attn.qkv.weight
    assert qkv.std().item() == pytest.approx(math.sqrt(2 / (384 + 3 * 384)), rel=0.02)
    for owner in (*net.blocks, net.final_layer):
        assert not owner.adaLN_modulation[1].weight.any()
    assert all(not m.bias.any() for m in net.modules() if isinstance(m, nn.Linear))


@torch.no_grad()
def test_every_input_matters() -> None:
    net, (x, t, s, label) = random_net(), inputs()
    out = net(x, t, s, label)
    others = [(x + 0.1, t, s, label), (x, t - 0.1, s - 0.1, label), (x, t, s - 0.1, label), (x, t, s, label.flip(0))]
    for other in others:
        assert all((a - b).abs().max() > 1e-4 for a, b in zip(net(*other), out, strict=True))
    assert (net(x, s, t, label) - out).abs().max() > 1e-3, "t and s are told apart"
    assert not any(isinstance(module, nn.Dropout) for module in net.modules())


@torch.no_grad()
def test_rows_are_independent() -> None:
    net, given = random_net(), inputs()
    torch.testing.assert_close(net(*(value[2:3] for value in given)), net(*given)[2:3])


def test_second_embedder_sees_the_difference() -> None:
    net, (x, t, s, label) = random_net(), inputs()
    seen: list[Any] = []
    for embedder in (net.t_embedder, net.s_embedder):
        embedder.register_forward_hook(lambda _module, given, _out: seen.append(given[0]))
    net(x, t, s, label)
    net(x, t, t, label)
    for ours, expected in zip(seen, (t, t - s, t, torch.zeros_like(t)), strict=True):
        assert torch.equal(ours, expected)


@torch.no_grad()
def test_no_global_randomness() -> None:
    net, given = random_net(), inputs()
    state = torch.get_rng_state()
    assert torch.equal(net(*given), net(*given))
    assert torch.equal(torch.get_rng_state(), state)


@torch.no_grad()
def test_output_has_the_inputs_dtype() -> None:
    net, (x, t, s, label) = random_net(), inputs()
    assert net.double()(x.double(), t.double(), s.double(), label).dtype == torch.float64


# Attention


@torch.no_grad()
def test_math_attention_equals_the_automatic_one() -> None:
    net, given = random_net(), inputs()
    with dit.attention_backend("math"):
        written_out = net(*given)
    with dit.attention_backend("auto"):
        torch.testing.assert_close(net(*given), written_out, rtol=0, atol=1e-5)


def test_backend_is_what_was_asked_for() -> None:
    for name, flash, math_ in (("math", False, True), ("flash", True, False)):
        with dit.attention_backend(name):
            assert torch.backends.cuda.flash_sdp_enabled() is flash
            assert torch.backends.cuda.math_sdp_enabled() is math_
    assert torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.math_sdp_enabled()


def test_backend_names_are_validated() -> None:
    """bench.toml accepts exactly the names that the network knows."""
    for name in dit.ATTENTION:
        assert config.Train(attention=name).attention == name  # type: ignore[arg-type]
    for name in ("fused", ""):
        assert name not in dit.ATTENTION
        with pytest.raises(ValidationError):
            config.Train(attention=name)  # type: ignore[arg-type]
