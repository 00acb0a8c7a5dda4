"""Weights to start from. Skips these tests where TorchRec is not installed, and says why."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch
from sharding_cases import spec

import homespec


@pytest.fixture(scope="session", autouse=True)
def torchrec() -> None:
    """Import it once, without its warnings about kernels that a CPU lacks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import homespec.sharding  # noqa: F401
        except ImportError as error:
            pytest.skip(f"pip install --no-deps -r tests/sharding/requirements.txt: {error}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights that all start from."""
    path = tmp_path_factory.mktemp("sharding")
    for norm in ("layer", "batch"):
        torch.manual_seed(0)
        loaded = homespec.loads(spec(norm))
        state = homespec.build_module(loaded).logical_state(homespec.build(loaded))
        copies = {name: torch.randn(value.shape) * 0.3 for name, value in state.items()}
        for name, value in copies.items():
            if "norm" in name:
                value.abs_().add_(0.5)  # variances are positive
        safetensors.torch.save_file(copies, path / f"{norm}.safetensors")
    return path
