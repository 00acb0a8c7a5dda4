"""Training: whether torch.compile can work on this machine, and what to do if not."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import torch


def obstacle() -> str | None:
    """Why torch.compile cannot work here, with the remedy; None if it can."""
    if torch.cuda.is_available():
        return None
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler `{compiler}`: install it, or name yours in CXX"
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"{header} is missing: install Python's headers (python{version}-dev)"
    return None


def decide(wanted: bool | None) -> tuple[bool, str]:
    """Whether to compile, and a line that says so; `wanted` None leaves it to the machine."""
    why_not = obstacle()
    if wanted is False:
        return False, "training in eager mode, as asked"
    if why_not is None or wanted:
        return True, "training compiled: the first step takes a while (--no-compile starts at once)"
    return False, f"training in eager mode, which is slower: {why_not}"
