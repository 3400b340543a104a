"""The network of every method: one Diffusion Transformer (Peebles & Xie 2023, arXiv 2212.09748) with two time embedders.

    net = DiT(image_size=32, channels=4, patch=2, width=768, depth=12, heads=12, num_classes=1000)
    net(x, t, s, label)      # (B, C, H, W); Flow Matching calls it with s = t

State-dict names are those of the published DiT, with `s_embedder` for the second time. No dropout: no randomness inside.
"""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from bench.linear import Linear
from bench.nets import fit

# Attention backend: one explicit switch around every call of the network

ATTENTION = {
    "auto": None,  # torch chooses
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}


@contextlib.contextmanager
def attention_backend(name: str) -> Iterator[None]:
    """All attention inside runs on this backend, or fails; MeanFlow's derivative alone asks for "math" itself."""
    if name not in ATTENTION:
        raise ValueError(f"attention {name!r}; allowed: {', '.join(ATTENTION)}")
    backend = ATTENTION[name]
    with contextlib.nullcontext() if backend is None else sdpa_kernel(backend):
        yield


# Embeddings


def frequencies(t: Tensor, size: int = 256, max_period: float = 10000.0) -> Tensor:
    """(B,) times in [0, 1], unscaled -> (B, size): cosines, then sines, at geometric frequencies from 1 to 1/max_period."""
    half = size // 2
    omega = torch.exp(-math.log(max_period) * torch.arange(half, device=t.device, dtype=torch.float32) / half).to(t.dtype)
    angle = t[:, None] * omega  # (B, half)
    return torch.cat([torch.cos(angle), torch.sin(angle)], dim=1)


def position_embedding(width: int, grid: int) -> Tensor:
    """(1, grid * grid, width): the first half of the width encodes the column, the second the row; sines, then cosines."""
    omega = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    angle = torch.arange(grid, dtype=torch.float64)[:, None] * omega  # (grid, width / 4)
    axis = torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)  # (grid, width / 2)
    column = axis[None, :, :].expand(grid, grid, -1)
    row = axis[:, None, :].expand(grid, grid, -1)
    return torch.cat([column, row], dim=2).reshape(1, grid * grid, width).float()


class TimeEmbedder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(Linear(256, width), nn.SiLU(), Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        out: Tensor = self.mlp(frequencies(t))  # (B, width)
        return out


class LabelEmbedder(nn.Module):
    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, width)  # the last row is the null label

    def forward(self, label: Tensor) -> Tensor:
        out: Tensor = self.embedding_table(label)  # (B, width)
        return out


class PatchEmbedder(nn.Module):
    def __init__(self, patch: int, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj(x).flatten(2).transpose(1, 2)  # (B, N, width)
        return out


# The block


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(B, N, width) with one shift and scale an image, (B, width)."""
    return x * (1 + scale[:, None]) + shift[:, None]


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)  # (B, h, N, d)
        out: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, width))
        return out


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, 4 * width)
        self.fc2 = Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class Block(nn.Module):
    """adaLN-Zero: shift, scale and gate of both branches come from the condition; the gates start at zero."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Linear(width, 6 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(condition).chunk(6, dim=1)
        x = x + gate1[:, None] * self.attn(modulate(self.norm1(x), shift1, scale1))
        out: Tensor = x + gate2[:, None] * self.mlp(modulate(self.norm2(x), shift2, scale2))
        return out


class FinalLayer(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.linear = Linear(width, out)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Linear(width, 2 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(condition).chunk(2, dim=1)
        out: Tensor = self.linear(modulate(self.norm_final(x), shift, scale))
        return out


def whole_float32(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Within, autocast is off, if it was on."""
    on = device.type != "meta" and torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if on else contextlib.nullcontext()


class DiT(nn.Module):
    """`net(x, t, s, label)`: x (B, C, H, W), t and s (B,) in [0, 1], label (B,) int64 up to num_classes (null).

    With `recompute` set, a pass that records gradients keeps each block's input alone, and the backward pass computes the block
    once more: less memory, one more forward pass, the same gradient.
    """

    pos_embed: Tensor
    recompute: bool = False

    def __init__(
        self, *, image_size: int, channels: int, patch: int, width: int, depth: int, heads: int, num_classes: int
    ) -> None:
        super().__init__()
        if image_size % patch:
            raise ValueError(f"patch {patch} does not divide the image size {image_size}; allowed: a patch that does")
        if width % heads or width % 4:
            raise ValueError(f"width {width} is not divisible by 4 and by the {heads} heads")
        self.patch, self.channels, self.grid = patch, channels, image_size // patch
        self.x_embedder = PatchEmbedder(patch, channels, width)
        self.t_embedder = TimeEmbedder(width)  # of t
        self.s_embedder = TimeEmbedder(width)  # of t - s
        self.y_embedder = LabelEmbedder(num_classes, width)
        self.register_buffer("pos_embed", position_embedding(width, self.grid))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.final_layer = FinalLayer(width, patch * patch * channels)
        self.initialise()

    def initialise(self) -> None:
        """As the published DiT: Xavier weights, zero biases, normal(0.02) embedders, zero gates and output.

        The second time embedder starts like the first (SoFlow's code leaves it at Xavier).
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.view(self.x_embedder.proj.weight.shape[0], -1))
        assert self.x_embedder.proj.bias is not None
        nn.init.zeros_(self.x_embedder.proj.bias)
        nn.init.normal_(self.y_embedder.embedding_table.weight, std=0.02)
        for embedder in (self.t_embedder, self.s_embedder):
            for layer in embedder.mlp:
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=0.02)
        for owner in (*self.blocks, self.final_layer):
            nn.init.zeros_(owner.adaLN_modulation[1].weight)
            nn.init.zeros_(owner.adaLN_modulation[1].bias)
        nn.init.zeros_(self.final_layer.linear.weight)

    def forward(self, x: Tensor, t: Tensor, s: Tensor, label: Tensor) -> Tensor:
        tokens = self.x_embedder(x) + self.pos_embed  # (B, N, width)
        with whole_float32(x.device):  # 8 bits would not tell t from a neighbouring s
            condition = self.t_embedder(t) + self.s_embedder(t - s) + self.y_embedder(label)  # (B, width)
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                # Nothing inside is random, so no generator has to be put back.
                tokens = checkpoint(block, tokens, condition, use_reentrant=False, preserve_rng_state=False)
            else:
                tokens = block(tokens, condition)
        return self.unpatchify(self.final_layer(tokens, condition)).to(x.dtype)

    def unpatchify(self, tokens: Tensor) -> Tensor:
        """(B, N, patch * patch * C) -> (B, C, H, W)."""
        b, g, p, c = len(tokens), self.grid, self.patch, self.channels
        return tokens.reshape(b, g, g, p, p, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, g * p, g * p)


# Building and loading


def build(name: str, shape: tuple[int, int, int], num_classes: int) -> DiT:
    """The network `name` for images of `shape` (C, H, W). Raises ValueError where they do not fit."""
    size, patch = fit(name, shape)
    return DiT(
        image_size=shape[1], channels=shape[0], patch=patch,
        width=size.width, depth=size.depth, heads=size.heads, num_classes=num_classes,
    )  # fmt: skip


def parameter_count(net: nn.Module) -> int:
    """Trainable numbers; the fixed positions are not counted, as in the papers."""
    return sum(p.numel() for p in net.parameters())


def forward_macs(name: str, shape: tuple[int, int, int], num_classes: int) -> int:
    """Multiply-accumulates of one image's forward pass (the papers' "GFLOPs"), counted by torch on the meta device."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        net = build(name, shape, num_classes)
        x, t, label = torch.empty(1, *shape), torch.empty(1), torch.zeros(1, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter, attention_backend("math"), torch.no_grad():
            net(x, t, t, label)
    return int(counter.get_total_flops()) // 2
