"""Benchmark: lets the C library keep freed memory, so that steps do not wait for the kernel.

glibc gives large blocks back to the kernel at each `free`. A training step that frees and gets a
few hundred megabytes then spends as long on page faults as on arithmetic, in every variant, and
more or less so by chance. Services avoid that with another allocator or with these two settings.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of settings in glibc's malloc.h."""

LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Reuse freed blocks of any size in this process from now on; whether that could be set."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST))
