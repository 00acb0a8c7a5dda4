"""Activations: the plain twin of a model in training, which measures its experts on rows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from homespec.activations.numbers import Numbers
from homespec.activations.observers import Observer
from homespec.activations.walk import Trunk
from homespec.api import LoadedSpec, build_module
from homespec.header import spec_hash
from homespec.health.measures import Health
from homespec.health.thresholds import TOLERANCE, Thresholds

CHUNK = 512
"""Rows in a batch: their values take less memory than a training step."""


class Twin:
    """The plain trunk of a spec, which takes the weights of any model of the spec."""

    def __init__(self, spec: LoadedSpec) -> None:
        """Build the twin without changing the state of the random generator."""
        self.analysis = spec.analysis
        code = build_module(spec, optimize=False)
        model = nn.Module()
        with torch.random.fork_rng(devices=[]):
            model.trunk = code.Trunk().eval()
        self.trunk = Trunk(self.analysis.graph, code, model)

    @torch.no_grad()
    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Copy the weights of a model by logical name. Raises KeyError if one is missing."""
        model = self.trunk.model
        own = self.trunk.code.logical_state(model.get_submodule("trunk"))
        tower = weights[next(name for name in own if name.startswith("towers."))]
        model.to(tower.device, tower.dtype)
        for name, tensor in self.trunk.code.logical_state(model.get_submodule("trunk")).items():
            tensor.copy_(weights[name])

    @torch.no_grad()
    def health(self, x_BV: Tensor) -> Health:
        """Measure experts and gates on rows of the concatenated features [B, V].

        Tasks and losses are not measured: `Health.tasks` and `knockouts` are empty.
        """
        limits, analysis = Thresholds(), self.analysis
        seen = Observer(TOLERANCE, limits.saturation, quantile_rows=0)
        for chunk in torch.split(x_BV, CHUNK):
            self.trunk(chunk, watch=seen)
        numbers = Numbers(analysis, seen, {})
        return Health(
            run="",
            spec=analysis.spec.name,
            spec_sha256=spec_hash(analysis.document),
            rows=len(x_BV),
            sample_rows=0,
            tolerance=TOLERANCE,
            thresholds=limits,
            experts=tuple(numbers.experts()),
            gates=tuple(numbers.gates()),
            self_gates=tuple(numbers.self_gates()),
            feature_gates=tuple(numbers.feature_gates()),
            tasks=(),
            knockouts=(),
        )
