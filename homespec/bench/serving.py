"""Benchmark: forward passes as a service runs them: eager, compiled, and exported."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from homespec.api import LoadedSpec
from homespec.bench import counting
from homespec.bench.candidates import Candidate, Tensors, build_server, check_logits
from homespec.bench.exported import Exported, Server
from homespec.bench.measurements import Facts, Settings
from homespec.bench.timing import Action
from homespec.bench.variants import VARIANTS

CALLS = 10
"""Number of successive calls of each variant in a round.

A service answers one request after another, so its weights are in the processor's caches.
"""

Say = Callable[[str], object]


class Service:
    """All variants of a spec for serving, with the same weights, for one number of threads."""

    def __init__(
        self, spec: LoadedSpec, weights: Tensors, precision: str, settings: Settings, say: Say
    ) -> None:
        self._spec, self._weights, self._precision = spec, weights, precision
        self._settings, self._say = settings, say
        self._files: dict[str, Facts] = {}
        self._servers: dict[str, Server | None] = {}

    def export(self, names: list[str], folder: Path) -> None:
        """Export and load the variants that are exported files, once for all batches."""
        served = {name: kind for name in names if (kind := VARIANTS[name].served)}
        if not served:
            return
        exported = Exported(self._spec, self._weights, folder, self._settings.device)
        for name, kind in served.items():
            self._say(f"  {name}: exporting")
            self._files[name] = Facts()
            self._servers[name] = exported.load(kind, self._files[name])

    def actions(self, names: list[str], rows: int, facts: dict[str, Facts]) -> dict[str, Action]:
        """The functions that answer a request of `rows` rows, by variant.

        Files whose extra is missing are left out. Sets `facts`. Raises Unequal if the logits differ
        from those of plain code.
        """
        plain = self._built("naive", rows)
        expected = plain.forward()
        kept = [i for i, task in enumerate(self._spec.tasks) if task in self._settings.keep]
        made: dict[str, Action] = {}
        for name in names:
            if name in self._files:
                facts[name] = dataclasses.replace(self._files[name])
                found = self._of_file(name, plain.features)
            else:
                found = self._of_model(name, rows, facts[name])
            if found is None:
                continue
            made[name], logits = found
            wanted = expected[kept] if VARIANTS[name].pruned else expected
            facts[name].difference = check_logits(name, logits, wanted, self._precision)
        return made

    def _of_file(self, name: str, features: Tensors) -> tuple[Action, Tensor] | None:
        """The function that scores features, and its logits [T, B]."""
        server = self._servers[name]
        if server is None:
            return None
        score = server(features)
        return score, _stacked(score())

    def _of_model(self, name: str, rows: int, facts: Facts) -> tuple[Action, Tensor]:
        if VARIANTS[name].compiled:
            self._say(f"  {name}: compiling")
        serve = self._built(name, rows).forward
        logits = serve()
        if not VARIANTS[name].compiled:
            facts.forward_operations = counting.operations(serve)
        return serve, logits

    def _built(self, name: str, rows: int) -> Candidate:
        settings = self._settings
        return build_server(
            self._spec, name, self._weights, rows, settings.device, self._precision, settings.keep
        )


def _stacked(logits: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([*logits.values()])
