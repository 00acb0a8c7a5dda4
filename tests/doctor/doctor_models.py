"""Models for the tests of the doctor: any spec, its plain twin in eval mode, random weights."""

from __future__ import annotations

from typing import Any

import torch
from hierarchies import randomise
from parity import load

from homespec.activations.walk import Trunk
from homespec.api import LoadedSpec, build_with_module


def plain(loaded: LoadedSpec, dtype: torch.dtype = torch.float64) -> Trunk:
    """The trunk of a spec, one module for each expert."""
    code, model = build_with_module(loaded, optimize=False, dtype=dtype)
    return Trunk(loaded.analysis.graph, code, model.eval())


def random_trunk(spec: dict[str, Any], seed: int) -> Trunk:
    """The trunk of a drawn spec with random weights and statistics."""
    trunk = plain(load(spec))
    state = trunk.code.logical_state(trunk.model)
    random = randomise(state, torch.Generator().manual_seed(seed))
    trunk.code.load_logical_state(trunk.model, random)
    return trunk
