"""Training: whether torch.compile works on this machine, and how often it compiled."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import torch
from torch._dynamo.utils import counters
from torch._logging._internal import getArtifactLogger, set_logs


def obstacle() -> str | None:
    """Why torch.compile does not work here, with the remedy; None if it does."""
    if torch.cuda.is_available():
        return None
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"the C++ compiler `{compiler}` was not found: install it, or name yours in CXX"
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"{header} is missing: install Python's headers (python{version}-dev)"
    return None


def decide(wanted: bool | None) -> tuple[bool, str]:
    """Whether to compile, and a line about it; with `wanted` None, it depends on the machine."""
    why_not = obstacle()
    if wanted is False:
        return False, "training in eager mode, as requested"
    if why_not is None or wanted:
        return True, (
            "training compiled code; the first step takes a while (--no-compile starts at once)"
        )
    return False, f"training in eager mode, which is slower: {why_not}"


class Compilations(logging.Handler):
    """Counts the graphs that torch.compile creates, and reports the reasons for recompilations."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Start counting; `say` receives a line for each recompilation."""
        super().__init__()
        self._say = say
        self._before = _graphs()
        set_logs(recompiles=True)
        self._logger = getArtifactLogger("torch._dynamo.guards", "recompiles")
        self._logger.addHandler(self)
        self._logger.propagate = "TORCH_LOGS" in os.environ

    @property
    def count(self) -> int:
        """Number of graphs since then; a step with static shapes should have one."""
        return _graphs() - self._before

    def emit(self, record: logging.LogRecord) -> None:
        """Report a recompilation with the guard that failed."""
        reason = record.getMessage().rpartition("- ")[2].strip()
        self._say(f"warning: the training step is compiled again: {reason}")

    def close(self) -> None:
        """Stop listening."""
        self._logger.removeHandler(self)
        super().close()


def _graphs() -> int:
    return int(counters["stats"]["unique_graphs"])
