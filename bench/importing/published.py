"""A published state dict -> the form that this suite's DiT loads strictly.

net.load_state_dict(from_published(torch.load(FILE, weights_only=True), net))
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from bench import dit

# What data parallelism, compilation and wrapping modules put before names.
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.")


def from_published(state: Mapping[str, Tensor], net: dit.DiT) -> dict[str, Tensor]:
    """A published state dict in the form that `net` (it may lie on "meta") loads strictly: prefixes off, float32.

    Raises ValueError for other positions, for names that are missing or too many, and for other shapes: another network.
    """
    ours, clean = net.state_dict(), {}
    for key, value in state.items():
        while key.startswith(WRAPPERS):
            key = key.partition(".")[2]
        clean[key] = value
    assert len(clean) == len(state), "two names differ in their prefixes alone"
    fixed = dit.position_embedding(ours["pos_embed"].shape[2], net.grid)
    positions, clean["pos_embed"] = clean.get("pos_embed", fixed), fixed
    rounding = max(1e-5, torch.finfo(positions.dtype).eps)
    if positions.shape != fixed.shape or not torch.allclose(positions.float().cpu(), fixed, rtol=0, atol=rounding):
        raise ValueError("the published positions are not this DiT's 2-D sin-cos ones")
    missing, extra = sorted(set(ours) - set(clean)), sorted(set(clean) - set(ours))
    if missing or extra:
        raise ValueError(f"not this DiT's state dict: missing {missing[:3]}, unexpected {extra[:3]}")
    if wrong := [f"{k} {[*clean[k].shape]}, not {[*v.shape]}" for k, v in ours.items() if clean[k].shape != v.shape]:
        raise ValueError(f"not this DiT's shapes: {'; '.join(wrong[:3])}{' ...' * (len(wrong) > 3)}")
    return {key: clean[key].to(value.dtype) for key, value in ours.items()}
