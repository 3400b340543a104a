"""Weight files in the forms that others publish, of the net N/2 for the digits, and what they mean by their specification.

`forward` is written from the papers' text, in double precision, and shares nothing with bench/dit.py.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

WIDTH, DEPTH, HEADS, PATCH, SIDE, CLASSES = 32, 2, 2, 2, 8, 10
GRID = SIDE // PATCH


def state(*clocks: str, outputs: int = 1, seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the published DiT's names; `clocks` are its time embedders, `outputs` its output channels."""
    shapes = {"x_embedder.proj": (WIDTH, 1, PATCH, PATCH)}
    for clock in clocks:
        shapes |= {f"{clock}.mlp.0": (WIDTH, 256), f"{clock}.mlp.2": (WIDTH, WIDTH)}
    for i in range(DEPTH):
        shapes |= {
            f"blocks.{i}.attn.qkv": (3 * WIDTH, WIDTH),
            f"blocks.{i}.attn.proj": (WIDTH, WIDTH),
            f"blocks.{i}.mlp.fc1": (4 * WIDTH, WIDTH),
            f"blocks.{i}.mlp.fc2": (WIDTH, 4 * WIDTH),
            f"blocks.{i}.adaLN_modulation.1": (6 * WIDTH, WIDTH),
        }
    shapes |= {"final_layer.linear": (PATCH * PATCH * outputs, WIDTH), "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH)}
    generator = torch.Generator().manual_seed(seed)
    found = {
        "pos_embed": positions().float(),
        "y_embedder.embedding_table.weight": torch.randn(CLASSES + 1, WIDTH, generator=generator),
    }
    for name, shape in shapes.items():
        found[f"{name}.weight"] = 0.2 * torch.randn(*shape, generator=generator)
        found[f"{name}.bias"] = 0.2 * torch.randn(shape[0], generator=generator)
    return found


def positions() -> Tensor:
    """(1, tokens, width): sines and cosines of the column, then those of the row."""

    def of(place: int) -> list[float]:
        angles = [place / 10000 ** (k / (WIDTH // 4)) for k in range(WIDTH // 4)]
        return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]

    return torch.tensor([[of(column) + of(row) for row in range(GRID) for column in range(GRID)]], dtype=torch.float64)


def forward(weights: Mapping[str, Tensor], x: Tensor, clocks: Mapping[str, Tensor], label: Tensor) -> Tensor:
    """The DiT's output (B, outputs, side, side) in float64; `clocks` gives each time embedder its times (B,)."""
    w = {key: value.double() for key, value in weights.items()}

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ w[f"{name}.weight"].flatten(1).T + w[f"{name}.bias"]

    def silu(value: Tensor) -> Tensor:
        return value / (1 + torch.exp(-value))

    def norm(value: Tensor) -> Tensor:
        centred = value - value.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    def gelu(value: Tensor) -> Tensor:
        return value / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))

    b = len(x)
    condition = w["y_embedder.embedding_table.weight"][label]
    for clock, t in clocks.items():
        angle = t.double()[:, None] * 10000 ** (-torch.arange(128, dtype=torch.float64) / 128)
        features = torch.cat([torch.cos(angle), torch.sin(angle)], 1)
        condition = condition + linear(f"{clock}.mlp.2", silu(linear(f"{clock}.mlp.0", features)))
    patches = x.double().reshape(b, -1, GRID, PATCH, GRID, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(b, GRID * GRID, -1)
    tokens = linear("x_embedder.proj", patches) + positions()
    for i in range(DEPTH):
        shift, scale, gate, shift2, scale2, gate2 = linear(f"blocks.{i}.adaLN_modulation.1", silu(condition))[:, None].chunk(
            6, 2
        )
        q, k, v = linear(f"blocks.{i}.attn.qkv", norm(tokens) * (1 + scale) + shift).chunk(3, 2)
        heads = []
        for h in range(HEADS):
            part = slice(h * WIDTH // HEADS, (h + 1) * WIDTH // HEADS)
            weight = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(WIDTH // HEADS)).softmax(-1)
            heads.append(weight @ v[..., part])
        tokens = tokens + gate * linear(f"blocks.{i}.attn.proj", torch.cat(heads, 2))
        hidden = gelu(linear(f"blocks.{i}.mlp.fc1", norm(tokens) * (1 + scale2) + shift2))
        tokens = tokens + gate2 * linear(f"blocks.{i}.mlp.fc2", hidden)
    shift, scale = linear("final_layer.adaLN_modulation.1", silu(condition))[:, None].chunk(2, 2)
    out = linear("final_layer.linear", norm(tokens) * (1 + scale) + shift)
    return out.reshape(b, GRID, GRID, PATCH, PATCH, -1).permute(0, 5, 1, 3, 2, 4).reshape(b, -1, SIDE, SIDE)
