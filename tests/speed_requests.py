"""The smallest requests of `bench speed`, and what was measured as a frame."""

import dataclasses
from typing import Any

import pandas as pd
import torch

from bench.speed import results
from bench.speed.request import Request

CPU = torch.device("cpu")
TINY = Request(
    methods=("flow_matching", "soflow", "meanflow"), nets=("N/4",), shape=(4, 8, 8), classes=10, batch=8, seconds=0.01,
    steps=(1, 2), sample_batches=(1, 2),
)  # fmt: skip


def tiny(**changes: Any) -> Request:
    return dataclasses.replace(TINY, **changes)


def frame_of(rows: list[results.Measurement]) -> pd.DataFrame:
    return pd.DataFrame([dataclasses.asdict(row) for row in rows])
