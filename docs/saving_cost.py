"""What saving a state costs training: seconds that the loop waits, with and without the thread.

python docs/saving_cost.py [B/4]     # builds the network with its optimiser for 32x32x4 latents of 1,000 classes, on the CPU
"""

import copy
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from bench import checkpoint, dit
from bench.saving import Saver

ROUNDS = 3


def seconds(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


def main(name: str) -> None:
    net = dit.build(name, (4, 32, 32), 1000)
    ema, optimiser = copy.deepcopy(net), torch.optim.AdamW(net.parameters())
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    tensors = checkpoint.pack(net, ema, optimiser)
    size = sum(value.nbytes for value in tensors.values())
    alone, beside, written = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(ROUNDS):
            state = checkpoint.State(i, "c", "d", tensors)
            alone.append(seconds(lambda state=state: checkpoint.save_state(Path(folder, "alone"), state)))
            with Saver(Path(folder, "beside"), "c", "d") as saver:
                beside.append(seconds(lambda i=i, saver=saver: saver.save(i, tensors, lambda: None)))
                written.append(seconds(saver.wait))
    print(f"{name}: a state of {size / 1e9:.2f} GB; the loop waits {statistics.median(alone):.2f} s without the thread,")
    print(f"{statistics.median(beside):.2f} s with it; it is on the disk {statistics.median(written):.2f} s later")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["B/4"]))
