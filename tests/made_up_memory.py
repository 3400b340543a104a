"""What a step's memory is made up to be, for the choice of a micro batch: a straight line in its rows."""

from typing import Any

import torch

from bench.config import Loop
from bench.memory import OutOfMemory
from bench.probe import Peaks, Shapes

CPU = torch.device("cpu")
SHAPES = Shapes((1, 8, 8), 10, 1797)
AUTO = Loop(device="cpu", micro_batch="auto")
MEGA = 1_000_000


def made_up(each: int, fixed: int = 100 * MEGA, most: int = 1 << 30) -> Any:
    """A probe's line: bytes of each row; a size above `most` runs out of memory."""

    def peaks(_: object, __: Shapes, ___: str, sizes: tuple[int, ...], *____: object) -> Peaks:
        if min(sizes) > most:
            raise OutOfMemory("out of memory (made up); set something")
        return Peaks(50 * MEGA, tuple((rows, fixed + each * rows) for rows in sizes if rows <= most))

    return peaks
