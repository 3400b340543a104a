"""Saving training states beside the training: the loop waits for a copy in memory, a thread hashes and writes it.

    with Saver(run.state, config.digest, dataset.digest) as saver:
        saver.save(images, tensors, written=lambda: run.write_status(...))   # returns once the tensors are copied

A state is 16 bytes a parameter: of XL/2 10.8 GB, whose hash and whose way to the disk take longer than many steps do.
One is under way at a time: the next waits for it, and raises what it raised.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from torch import Tensor

from bench import checkpoint


class Saver:
    """The first process's; on the others nothing is ever given to it."""

    def __init__(self, folder: Path, config_digest: str, data_digest: str) -> None:
        self.folder, self.config_digest, self.data_digest = folder, config_digest, data_digest
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self.pending: Future[None] | None = None

    def save(self, images: int, tensors: dict[str, Tensor], written: Callable[[], None]) -> None:
        """Copy and return; `written` is called by the thread, once the state is whole on the disk.

        Raises what writing the state before this one raised: RunFailed on a full disk, BenchError without permission.
        """
        self.wait()
        copies = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
        state = checkpoint.State(images, self.config_digest, self.data_digest, copies)
        self.pending = self.thread.submit(self._write, state, written)

    def _write(self, state: checkpoint.State, written: Callable[[], None]) -> None:
        checkpoint.save_state(self.folder, state)
        written()

    def wait(self) -> None:
        """Until the last state is on the disk; raises what writing it raised."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Wait; what went wrong with writing is raised, unless something else is on its way."""
        try:
            self.wait()
        except Exception:
            if error is None:
                raise
        finally:
            self.thread.shutdown()
