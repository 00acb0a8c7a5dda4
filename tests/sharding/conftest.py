"""Weights to start from. Skips these tests where TorchRec is not installed, and says why."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch
from sharding_cases import SPECS, load

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
    for case in SPECS:
        torch.manual_seed(0)
        loaded = load(case)
        state = homespec.build_module(loaded).logical_state(homespec.build(loaded))
        scale = 0.1 if case.startswith("flagship") else 0.3  # by the width of the input
        copies = {name: torch.randn(v.shape, dtype=v.dtype) * scale for name, v in state.items()}
        for name, value in copies.items():
            if "norm" in name or name.endswith("running_var"):
                value.abs_().add_(0.5)  # variances are positive
            if name.endswith(".boundaries"):
                value.mul_(10).copy_(value.sort().values)
        safetensors.torch.save_file(copies, path / f"{case}.safetensors")
    return path
