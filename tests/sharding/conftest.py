"""Skips these tests where TorchRec is not installed, and says why."""

from __future__ import annotations

import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def torchrec() -> None:
    """Import it once, without its warnings about kernels that a CPU lacks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import homespec.sharding  # noqa: F401
        except ImportError as error:
            pytest.skip(f"pip install --no-deps -r tests/sharding/requirements.txt: {error}")
