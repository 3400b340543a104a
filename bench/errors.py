"""The one error that a user sees: what was given, what is allowed, what to do. And the exit codes."""

import difflib
from collections.abc import Iterable

# Exit codes of `bench`, as documented in the README; 0 is done.
EXIT_FAILED = 1  # a run failed (non-finite loss, out of memory, disk full); its failed row says why
EXIT_USAGE = 2  # the user's mistake: what it concerns was not started
EXIT_INTERRUPTED = 130  # Ctrl-C or SIGTERM: the state was saved, the same command goes on


class SuiteError(Exception):
    """What the suite raises itself."""

    elsewhere = False  # another process of the run raised it first, and tells it
    alone = False  # raised before the processes joined, and perhaps by this one only


class BenchError(SuiteError):
    """A mistake that the user can mend. Printed in three parts, never as a traceback."""

    def __init__(self, given: str, allowed: str, remedy: str) -> None:
        super().__init__(given, allowed, remedy)
        self.given, self.allowed, self.remedy = given, allowed, remedy

    def __str__(self) -> str:
        return f"{self.given}. Allowed: {self.allowed}. {self.remedy}"


class RunFailed(SuiteError):
    """A run that started and could not go on; its last good state was kept."""


class NotFinite(RunFailed):
    """A loss, a gradient or an image is not finite. Of several processes, all find it at the same moment."""


class PeerLost(RunFailed):
    """Another process of the run has ended: nothing can be done together any more."""


class Interrupted(SuiteError):
    """SIGINT or SIGTERM arrived and the state was saved."""


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """ " (did you mean 'x'?)" when an allowed name is close to `name`, else nothing."""
    close = difflib.get_close_matches(name, list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def unknown(kind: str, name: str, allowed: Iterable[str], remedy: str) -> BenchError:
    """The error for a name that is not in a list."""
    options = sorted(allowed)
    return BenchError(f"Unknown {kind} {name!r}{suggestion(name, options)}", ", ".join(options), remedy)
