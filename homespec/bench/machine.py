"""Benchmark: what was measured on, for the header."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def has_gpu() -> bool:
    """Whether torch finds a GPU of CUDA."""
    return torch.cuda.is_available()


def machine(device: str) -> dict[str, str | int]:
    """The processor with its threads, or the GPU, and the versions that matter."""
    found: dict[str, str | int] = {"cpu": _processor(), "cores": os.cpu_count() or 0}
    found["threads"] = torch.get_num_threads()
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = str(torch.version.cuda)
    found["torch"] = str(torch.__version__)
    found["python"] = platform.python_version()
    return found


def _processor() -> str:
    """The processor's name as Linux gives it; else the architecture."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
