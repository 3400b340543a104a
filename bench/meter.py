"""The training log's numbers: means over the batches since its last line, and the time that training took.

    meter.add(out, gradient_norm)      # each step: summed on the device, nothing waits for it
    record = meter.read(run, images)   # each line: summed over the processes

The raw mean square error is what shows progress (an adaptive loss is about 1 throughout), apart for the rows that learn the
velocity and the rows that learn the jump.
"""

import time

import torch
from torch import Tensor

from bench import dist
from bench.errors import NotFinite
from bench.shares import Share
from bench.store import RunDirectory


class Meter:
    """Sums of one process over its rows, weighted such that those of all processes add up to the batch's means."""

    def __init__(self, share: Share, device: torch.device) -> None:
        self.share = share
        self.own_velocity, self.own_jump = sum(share.velocity), len(share.rows) - sum(share.velocity)
        self.sums = torch.zeros(6, dtype=torch.float64, device=device)  # batches, and the five values below
        self.seconds, self.before, self.started = 0.0, 0.0, time.monotonic()

    def elapsed(self) -> float:
        """Seconds of training since the last line, in this process and in those before it."""
        return self.seconds + time.monotonic() - self.started

    def total(self) -> float:
        """Seconds of training in all; of what a crash undid, only the second time."""
        return self.before + self.elapsed()

    def state(self) -> Tensor:
        """(8,) on the CPU: the sums over all processes, and the seconds. A collective operation."""
        return torch.cat([self._summed().cpu(), torch.tensor([self.elapsed(), self.before], dtype=torch.float64)])

    def restore(self, state: Tensor) -> None:
        """The sums were those of all processes: the first one goes on from them."""
        if dist.rank() == 0:
            self.sums = state[:-2].to(self.sums.device)
        self.seconds, self.before = state[-2:].tolist()

    def add(self, out: dict[str, Tensor], gradient_norm: Tensor) -> None:
        n, mse, batch = self.own_velocity, out["mse"], self.share.batch
        velocity = mse[:n].mean() * (n / self.share.all_velocity) if n else mse.new_zeros(())
        jump = mse[n:].mean() * (self.own_jump / (batch - self.share.all_velocity)) if self.own_jump else mse.new_zeros(())
        part = len(mse) / batch
        of_all = [torch.ones_like(velocity), out["loss"].detach().mean(), mse.mean()]
        values = [*(value * part for value in of_all), velocity, jump, gradient_norm * part]
        self.sums += torch.stack([value.double() for value in values])

    def check(self, run: RunDirectory, images: int) -> None:
        """Raises NotFinite, on every process, when a loss or a gradient since the last line was not. Collective."""
        self._check(self._summed(), run, images)

    def read(self, run: RunDirectory, images: int) -> dict[str, float]:
        """The means, and start anew. A collective operation; raises as `check` does."""
        sums = self._summed()
        self._check(sums, run, images)
        count, loss, mse, velocity, jump, norm = sums.tolist()
        seconds = self.elapsed()
        self.sums.zero_()
        self.before += seconds
        self.seconds, self.started = 0.0, time.monotonic()
        record = {"loss": loss / count, "mse": mse / count, "grad_norm": norm / count}
        if self.share.all_velocity:
            record["velocity_mse"] = velocity / count
        if self.share.batch > self.share.all_velocity:
            record["jump_mse"] = jump / count
        return record | {"seconds": seconds}

    def _summed(self) -> Tensor:
        found = self.sums.clone()
        dist.add_up(found)
        return found

    def _check(self, sums: Tensor, run: RunDirectory, images: int) -> None:
        if not bool(sums.isfinite().all()):
            reason = f"the loss or its gradient stopped being finite before {images:,} images"
            raise NotFinite(f"{reason}; the last good state is kept in {run.state}")
