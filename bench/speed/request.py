"""What `bench speed` is asked to measure: methods, nets, precisions, batches, and how much time it may take.

request = Request(methods=("soflow",), nets=("B/4",), hyperparameters={...})
request.checked()        # raises BenchError
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from bench.errors import BenchError, unknown

VARIANTS = ("optimised", "published")
PRECISIONS = ("fp32", "tf32", "bf16")
DECODERS = ("none", "sd-vae")
LATENTS = (4, 32, 32)  # of a 256 x 256 image in the Stable Diffusion VAE


@dataclass(frozen=True, kw_only=True)
class Request:
    """Times are seconds of each measurement; `minutes` bounds the whole."""

    methods: tuple[str, ...]
    nets: tuple[str, ...]
    hyperparameters: dict[str, dict[str, Any]] = field(default_factory=dict)  # by method; left out: the paper's
    device: str = "cpu"
    shape: tuple[int, int, int] = LATENTS
    classes: int = 1000
    batch: int = 128
    precisions: tuple[str, ...] = ("fp32",)
    variants: tuple[str, ...] = VARIANTS
    compile: bool = False  # measure the optimised variant of the column `best` compiled too
    steps: tuple[int, ...] = (1, 2, 4)
    sample_batches: tuple[int, ...] = (1, 64)
    decoder: str = "none"
    seconds: float = 2.0
    minutes: float | None = None
    max_batch: bool = False
    memory: float | None = None  # GB that a training step may hold, where the largest batch is looked for

    @property
    def shape_text(self) -> str:
        return "x".join(map(str, self.shape))

    def checked(self) -> "Request":
        """Raises BenchError for what can not be measured, before anything is."""
        for kind, given, allowed, option in (
            ("variant", self.variants, VARIANTS, "--variant"),
            ("precision", self.precisions, PRECISIONS, "--precision"),
            ("decoder", (self.decoder,), DECODERS, "--decoder"),
        ):
            for name in given:
                if name not in allowed:
                    raise unknown(kind, name, allowed, f"Choose with {option}.")
        counts = {"--batch": (self.batch,), "--steps": self.steps, "--sample-batch": self.sample_batches}
        for option, numbers in counts.items():
            if not numbers or min(numbers) < 1:
                raise BenchError(f"{option} {','.join(map(str, numbers))}", "whole numbers of at least 1", f"Correct {option}.")
        for option, number in (("--seconds", self.seconds), ("--minutes", self.minutes), ("--memory", self.memory)):
            if number is not None and not 0 < number < math.inf:
                raise BenchError(f"{option} {number:g}", "a positive number", f"Leave {option} out for what is usual.")
        if self.memory is not None and not self.max_batch:
            raise BenchError("--memory without --max-batch", "both, or neither", "Add --max-batch.")
        return self


def parse_shape(text: str) -> tuple[int, int, int]:
    """ "4x32x32" -> (4, 32, 32). Raises BenchError."""
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)", text)
    if not found or not all(map(int, found.groups())):
        raise BenchError(f"--shape {text}", "channels x height x width", "For example: --shape 4x32x32")
    channels, height, width = map(int, found.groups())
    return channels, height, width


def split(words: list[str] | None) -> tuple[str, ...]:
    """["B/4,B/2", "XL/2"] -> ("B/4", "B/2", "XL/2"), each once."""
    return tuple(dict.fromkeys(part for word in words or [] for part in word.split(",") if part))
