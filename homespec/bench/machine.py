"""Benchmark: describes the machine, and configures how its C library keeps freed memory."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of settings in glibc's malloc.h."""

MAX_INT = 2**31 - 1


def has_gpu() -> bool:
    """Whether torch finds a GPU of CUDA."""
    return torch.cuda.is_available()


def machine(device: str) -> dict[str, str | int]:
    """The processor with its threads, or the GPU, and the relevant versions."""
    gpu = device == "cuda"
    return {
        "cpu": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        **({"gpu": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)} if gpu else {}),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's name from Linux, else the architecture."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def keep_freed_memory() -> bool:
    """Make this process reuse freed blocks of any size. Returns whether that worked.

    glibc returns large blocks to the kernel at each `free`. A training step that frees and
    allocates a few hundred megabytes then spends as long on page faults as on arithmetic, in every
    variant and with random variation. Services avoid that with another allocator or these two
    settings.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, MAX_INT))
