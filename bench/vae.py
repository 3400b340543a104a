"""The autoencoder of a latent space: diffusers' AutoencoderKL, from a folder or the hub's cache. Never downloads unasked.

    vae = load("stabilityai/sd-vae-ft-mse")            # or a folder, as save_pretrained writes it; safetensors only
    mean, std = vae.encode(images)                     # uint8 (B, 3, H, W) -> float32 (B, C, H/f, W/f)
    pixels = vae.to_uint8(mean)                        # (B, 3, H, W), by the rule of bench.datasets

Latents here are the autoencoder's own; what networks train on is `scale` times that.
"""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import late
from bench.datasets import quantise
from bench.errors import BenchError, RunFailed
from bench.float32 import exact_float32

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
ALLOWED = f"a folder that holds {CONFIG} and {WEIGHTS}, or a hub id that is in the cache, as stabilityai/sd-vae-ft-mse"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NOT_IN_WEIGHTS = ("layers_per_block", "act_fn", "norm_num_groups")  # of the configuration: they move values, unseen in weights


@dataclass(frozen=True)
class Vae:
    """A network that encodes and decodes, on one device. `images` at a time pass through it."""

    module: Any  # diffusers.AutoencoderKL in eval mode, without gradient
    name: str  # as it was asked for
    digest: str  # sha256 of the weights
    scale: float  # x0 = scale * latent, about of unit variance
    factor: int  # pixels a latent, along each side
    channels: int  # of a latent
    precision: str = "fp32"  # fp32 (without TF32), bf16, fp16
    images: int = 32

    @property
    def device(self) -> torch.device:
        return next(iter(self.module.parameters())).device  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior's mean and standard deviation, float32 (B, channels, H/factor, W/factor), on the network's device.

        Raises BenchError for images whose sides `factor` does not divide, RunFailed when a latent is not finite.
        """
        if images.shape[2] % self.factor or images.shape[3] % self.factor:
            raise BenchError(
                f"Images of {images.shape[3]}x{images.shape[2]} pixels",
                f"sides that are multiples of {self.factor}, for the VAE {self.name}",
                "Choose another --size.",
            )
        parts = []
        for batch in torch.split(images, self.images):
            with exact_float32(self.device.type):
                posterior = self.module.encode(self._to(batch) / 127.5 - 1).latent_dist
            parts.append(torch.stack([posterior.mean, posterior.std]).float())
        mean, std = torch.cat(parts, dim=1)
        self._check(mean, "latents")
        return mean, std

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(B, channels, h, w) -> float32 (B, 3, H, W), about in [-1, 1]. Raises RunFailed for what is not finite."""
        return torch.cat([self._decoded(batch) for batch in torch.split(latents, self.images)])

    @torch.no_grad()
    def to_uint8(self, latents: Tensor) -> Tensor:
        """(B, channels, h, w) -> uint8 (B, 3, H, W). Raises RunFailed for what is not finite."""
        return torch.cat([quantise(self._decoded(batch)) for batch in torch.split(latents, self.images)])

    def _decoded(self, latents: Tensor) -> Tensor:
        with exact_float32(self.device.type):
            pixels: Tensor = self.module.decode(self._to(latents)).sample.float()
        self._check(pixels, "decoded images")
        return pixels

    def _to(self, x: Tensor) -> Tensor:
        return x.to(self.device, PRECISIONS[self.precision])

    def _check(self, x: Tensor, what: str) -> None:
        hint = "; fp16 overflows in some VAEs: use fp32 or bf16" if self.precision == "fp16" else ""
        error = RunFailed(f"the VAE {self.name} made {what} that are not finite in {self.precision}{hint}")
        late.require(x.isfinite().all(), error)


# Loading


def load(name: str, *, device: str = "cpu", precision: str = "fp32", images: int = 32, online: bool = False) -> Vae:
    """The VAE in a folder, or under its id in the hub's cache; `online`: downloaded where it is not there.

    Raises BenchError for anything else, for weights that are not safetensors, and for latents that have an offset.
    """
    if precision not in PRECISIONS:
        raise BenchError(f"VAE precision {precision!r}", ", ".join(PRECISIONS), "Correct bench.toml or the flag.")
    folder = find(name, online=online)
    module = _read(folder, name).requires_grad_(False).eval()
    shift = [key for key in ("shift_factor", "latents_mean", "latents_std") if module.config.get(key)]
    if shift:
        given = f"The VAE {name} has {', '.join(shift)}: its latents are shifted"
        raise BenchError(
            given, "a VAE whose latents are only scaled, as Stable Diffusion 1 and 2 have", "Choose another --vae."
        )
    digest = digest_of(module)  # before the precision changes them
    return Vae(
        module=nn.Module.to(module, torch.device(device), PRECISIONS[precision]),  # diffusers' own warns of no modules
        name=name,
        digest=digest,
        scale=float(module.config.scaling_factor),
        factor=2 ** (len(module.config.block_out_channels) - 1),
        channels=int(module.config.latent_channels),
        precision=precision,
        images=images,
    )


def find(name: str, *, online: bool = False) -> Path:
    """The folder that holds a VAE: itself, its part vae/, or the hub's cache of an id."""
    path = Path(name).expanduser()
    for folder in (path, path / "vae"):
        if (folder / CONFIG).is_file():
            if (folder / WEIGHTS).is_file():
                return folder
            others = ", ".join(sorted(found.name for found in folder.iterdir() if found.suffix in (".bin", ".pt", ".ckpt")))
            given = f"{folder} has no {WEIGHTS}" + (f", but {others}: files that run code when they are read" if others else "")
            raise BenchError(given, ALLOWED, "Save it with diffusers' save_pretrained(..., safe_serialization=True).")
    if path.exists():
        raise BenchError(f"{path} holds no VAE", ALLOWED, "Correct the path.")
    return _in_hub_cache(name, online)


def _in_hub_cache(name: str, online: bool) -> Path:
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise _not_installed() from error
    try:  # only looks: hf_hub_download asks the hub who is calling even with local_files_only
        found = [try_to_load_from_cache(name, file) for file in (CONFIG, WEIGHTS)]
        if not all(isinstance(file, str) for file in found) and online:
            found = [hf_hub_download(name, file) for file in (CONFIG, WEIGHTS)]
    except HFValidationError as error:
        raise BenchError(f"The VAE {name!r} is no folder and no hub id", ALLOWED, "Correct the path or the id.") from error
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "Bring its folder by hand and name that."
        raise BenchError(f"The VAE {name!r} could not be downloaded ({reason})", ALLOWED, remedy) from error
    if not all(isinstance(file, str) for file in found):
        remedy = "Add --online where there is a network, or bring its folder by hand and name that."
        raise BenchError(f"The VAE {name!r} is no folder, and not in the hub's cache", ALLOWED, remedy)
    return Path(str(found[0])).parent


def _read(folder: Path, name: str) -> Any:
    try:
        from diffusers import AutoencoderKL
    except ImportError as error:
        raise _not_installed() from error
    try:
        kind = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("_class_name", "AutoencoderKL")
        if kind != "AutoencoderKL":
            raise BenchError(f"{folder} holds a {kind}", "an AutoencoderKL", "Choose another --vae.")
        read: Any = AutoencoderKL.from_pretrained
        return read(folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False)
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BenchError(f"The VAE {name} can not be read ({reason})", ALLOWED, "Restore its files.") from error


def _not_installed() -> BenchError:
    return BenchError(
        "The package diffusers is not installed; encoding and decoding latents need it",
        "diffusers, as the optional extra latents installs it",
        'Run: pip install -e ".[latents]"',
    )


def digest_of(module: nn.Module) -> str:
    """sha256 over the names, shapes and float32 values of the weights, and what of the configuration they do not show.

    The same however the weights were stored; a file's own digest would change with each saving.
    """
    config: Any = module.config
    text = hashlib.sha256(json.dumps({key: config.get(key) for key in NOT_IN_WEIGHTS}).encode())
    for name, tensor in sorted(module.state_dict().items()):
        text.update(f"{name} {tuple(tensor.shape)}\0".encode())
        text.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return text.hexdigest()


@functools.lru_cache(maxsize=2)
def cached(name: str, device: str, precision: str, images: int) -> Vae:
    """`load`, once for several data sets that decode with it."""
    return load(name, device=device, precision=precision, images=images)
