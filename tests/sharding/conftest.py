"""Skips these tests where TorchRec is not installed, and says why."""

from __future__ import annotations

import warnings

import pytest

NEEDED = "needs TorchRec and its kernels for this torch: `make .venv/.torchrec` (docs/sharding.md)"


def why_not() -> str:
    """Why TorchRec cannot be imported; empty where it can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of kernels that a CPU lacks
        try:
            import homespec.sharding  # noqa: F401
        except ImportError as error:
            return f"{NEEDED}: {error}"
    return ""


REASON = why_not()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if REASON and item.get_closest_marker("sharding"):
            item.add_marker(pytest.mark.skip(reason=REASON))
