"""Memory that the C library keeps for the next tensor, instead of giving it back to the system and fetching it anew.

    keep_freed()        # once in a process, before it trains or samples on a CPU

glibc maps large blocks afresh, and every page of them costs a fault: much where passes of different sizes take turns, as in a
step, little where one size repeats (docs/step_parts.md). Another C library, or none that is found, is left as it is: it costs
time, and changes no number.
"""

import ctypes
import functools
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGEST_BLOCK = 32 << 20  # bytes: what glibc takes at most; larger ones are few
KEPT = 1 << 30  # bytes, free at the end of the heap, before any goes back


@functools.cache
def keep_freed() -> bool:
    """Whether the C library was told, and took it. Of the whole process, for its life."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT))
