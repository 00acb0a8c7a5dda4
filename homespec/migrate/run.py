"""Migration: the weights of one spec for the model of another, in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from homespec.compiler import Analysis, generate
from homespec.diff.carry import Plan
from homespec.migrate.files import Stored
from homespec.migrate.weights import Starts, carried_moments, carried_state
from homespec.runtime import import_source

Tensors = dict[str, Tensor]


def migrated(
    spec: Analysis, plan: Plan, stored: Stored, starts: Starts, seed: int = 0
) -> tuple[Tensors, Tensors]:
    """Weights and moments for the model of the new spec; what starts fresh is drawn from `seed`."""
    code = import_source(spec.spec.name, generate(spec))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = code.logical_state(code.Model())
    weights = carried_state(plan, stored.weights, fresh, starts)
    return weights, carried_moments(plan, stored.moments)
