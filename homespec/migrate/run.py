"""Migration: the weights of one spec for the model of another, in memory."""

from __future__ import annotations

import torch
from torch import Tensor

import homespec
from homespec.diff.carry import Plan
from homespec.migrate.weights import Starts, carried_moments, carried_state
from homespec.migrate.files import Stored


def migrated(
    spec: homespec.api.LoadedSpec, plan: Plan, stored: Stored, starts: Starts, seed: int = 0
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and moments for the model of the new spec; `seed` is that of weights that start fresh.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, model = homespec.api.build_with_module(spec)
    fresh = module.logical_state(model)
    return carried_state(plan, stored.weights, fresh, starts), carried_moments(plan, stored.moments)
