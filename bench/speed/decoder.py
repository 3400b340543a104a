"""From a network's images to uint8: the rounding alone, or the decoder of Stable Diffusion's VAE with random weights.

    decoder = load_decoder(request, device)
    pixels = decoder(x0)

What decoding costs does not depend on the weights, so none have to be at hand.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench import datasets, provenance, rng
from bench.errors import BenchError
from bench.memory import out_of_memory
from bench.speed import held
from bench.speed.cells import Cell
from bench.speed.clock import time_rounds
from bench.speed.live import Live, attempt
from bench.speed.request import Request
from bench.speed.results import Measurement, noisy, quartiles

Decoder = Callable[[Tensor], Tensor]
# The autoencoder of Stable Diffusion 1 and 2 (Rombach et al. 2022), f = 8, 4 channels; sd-vae-ft-mse and -ema have it too.
CHANNELS, FACTOR, SCALE = (128, 256, 512, 512), 8, 0.18215
AT_A_TIME = 32  # latents decoded at once, as bench.toml has it


def check(request: Request) -> None:
    """Raises BenchError where the decoder does not fit the shape, or the package that has it is not installed."""
    if request.decoder != "none" and request.shape[0] != 4:
        given = f"--decoder sd-vae for images of {request.shape_text}"
        raise BenchError(given, "latents of 4 channels, as 4x32x32", "Leave --decoder out, or change --shape.")
    if request.decoder != "none" and importlib.util.find_spec("diffusers") is None:
        given = "--decoder sd-vae without the package diffusers"
        raise BenchError(given, "diffusers, the extra latents", 'Run: pip install -e ".[latents]"')


def load_decoder(request: Request, device: torch.device) -> Decoder:
    """Of a checked request."""
    if request.decoder == "none":
        return datasets.quantise
    from bench.vae import Vae

    module = stable_diffusion(request.shape[1]).to(device).requires_grad_(False).eval()
    vae = Vae(module, "Stable Diffusion's, random weights", "", SCALE, FACTOR, 4, images=AT_A_TIME)
    return lambda x0: vae.to_uint8(x0 / SCALE)


def stable_diffusion(size: int) -> Any:
    """An AutoencoderKL of that architecture, freshly initialised."""
    from diffusers import AutoencoderKL

    make: Any = AutoencoderKL
    n = len(CHANNELS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(
            in_channels=3, out_channels=3, latent_channels=4, block_out_channels=CHANNELS, layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * n, up_block_types=("UpDecoderBlock2D",) * n, sample_size=size * FACTOR,
        )  # fmt: skip


def measure(request: Request, device: torch.device, deadline: float) -> list[Measurement]:
    """Images a second and memory of the decoder alone, at each batch size."""
    with out_of_memory():
        decoder = load_decoder(request, device)
    rows: list[Measurement] = []
    for batch in request.sample_batches:
        live = Live(Cell("", "", ""))
        found = attempt(live, partial(_one, decoder, request, batch, device), deadline)
        place: dict[str, Any] = {
            "work": "decode", "shape": request.shape_text, "precision": "fp32", "batch": batch, "started_at": provenance.now(),
        }  # fmt: skip
        rate: dict[str, Any] = {"metric": "images_per_second", "unit": "images/s", "better": "max"}
        if found is None:
            rows.append(Measurement(**place, **rate, value=None, status=live.status, reason=live.reason))
            continue
        rounds, peak = found
        low, middle, high = quartiles(rounds)
        rows.append(Measurement(**place, **rate, value=batch / middle, low=batch / high, high=batch / low,
                                rounds=tuple(rounds), noisy=noisy(rounds)))  # fmt: skip
        rows.append(Measurement(**place, metric="peak_bytes", value=peak, unit="bytes", better="min",
                                reason="beyond the weights"))  # fmt: skip
    return rows


def _one(decoder: Decoder, request: Request, batch: int, device: torch.device) -> tuple[list[float], int]:
    """Seconds of each round, and the most bytes held."""
    x0 = rng.image_noise(0, "speed", range(batch), request.shape).to(device)
    work = partial(decoder, x0)
    return time_rounds(work, device, request.seconds / 4), held.added_bytes(work, device)
