"""Trainings of an epoch: how they are set, stopped at a batch, and compared to the bit."""

import os
import signal
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from bench import checkpoint, pipeline, rows, train
from bench.config import Loop
from bench.store import Root, RunDirectory

TRAIN_ONLY = pipeline.Stages(evaluate=False, speed=False)
LOOP = Loop(device="cpu", save_seconds=1e9, log_images=320)
SEEN = [480, 928, 1376, 1824]  # with four snapshots, of 57 batches of 32: the first at or after 456, 912, 1368, 1824


def stop_at(images: int) -> train.Watch:
    """A watch that sends Ctrl-C to this process once `images` were seen."""

    def watch(done: int, _: int) -> None:
        if done == images:
            os.kill(os.getpid(), signal.SIGINT)

    return watch


def weights(run: RunDirectory) -> dict[str, Tensor]:
    path = run.newest_snapshot()
    assert path is not None
    return checkpoint.load_snapshot(path).weights


def assert_same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def log_without_time(run: RunDirectory) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in run.read_train_log()]


def of_run(root: Root) -> pd.DataFrame:
    return rows.read(root.results)[0]
