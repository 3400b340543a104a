"""What must hold of values on a device: looked at at once, or, so that nothing waits for the device, a little later.

require(x.isfinite().all(), NotFinite("images 0 to 499 ..."))     # at once: waits for x
with postponed() as checks:
    require(...)                                                  # is noted
checks.settle()                                                   # raises the first that failed
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

from torch import Tensor

from bench import dist


class Checks:
    """What was required, in order, each on its way to the CPU."""

    def __init__(self) -> None:
        self.noted: list[tuple[Callable[[], Tensor], Exception]] = []

    def settle(self) -> None:
        """Wait for the values; raises the error of the first that does not hold."""
        for holds, error in self.noted:
            if not bool(holds()):
                raise error
        self.noted.clear()


_noting: contextvars.ContextVar[Checks | None] = contextvars.ContextVar("noting", default=None)


def require(holds: Tensor, error: Exception) -> None:
    """Raises `error` unless `holds` () bool; inside `postponed` it is `settle` that does."""
    checks = _noting.get()
    if checks is not None:
        checks.noted.append((dist.fetched(holds), error))
    elif not bool(holds):
        raise error


@contextlib.contextmanager
def postponed() -> Iterator[Checks]:
    """Within, nothing that is required is looked at."""
    checks = Checks()
    token = _noting.set(checks)
    try:
        yield checks
    finally:
        _noting.reset(token)
