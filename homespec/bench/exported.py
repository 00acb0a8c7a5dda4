"""Benchmark: exports a spec with given weights as `homespec export` does, and loads the files."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from homespec.api import LoadedSpec, build_with_module
from homespec.bench.measurements import Facts
from homespec.bench.random_batch import random_features
from homespec.bench.variants import Served
from homespec.export import ONNX_PACKAGES, served_model
from homespec.export.aotinductor import SEPARATOR, Loader, compile_package
from homespec.export.files import EXAMPLE_ROWS, ONNX, PT2
from homespec.export.inputs import inputs_of
from homespec.schema.input_tensors import input_tensors

EXTRA = "export"

Tensors = dict[str, Tensor]
Server = Callable[[Tensors], Callable[[], Mapping[str, Tensor]]]
"""Features by name -> a function that returns their logits [B] by task."""


class Exported:
    """The inference model of a spec, exported, and loaded with torch's current number of threads.

    Numbers are float32 and outputs are logits, so that they can be compared with other variants.
    """

    def __init__(
        self,
        spec: LoadedSpec,
        weights: Mapping[str, Tensor],
        folder: Path,
        device: str,
        user_features: tuple[str, ...] = (),
    ) -> None:
        """The features `user_features` have one row, for all rows."""
        code, model = build_with_module(
            spec, mode="inference", device=device, user_features=user_features or None
        )
        code.load_logical_state(model, dict(weights))
        numbers = {t.name: "float32" for t in input_tensors(spec) if t.kind == "number"}
        self.inputs = inputs_of(spec, code.FEATURES, numbers, user_features)
        self._user = [each.name for each in self.inputs if each.user]
        self._names = [each.name for each in self.inputs]
        self._tasks, self._folder = code.TASKS, folder
        self._apart = served_model.one_row_gains(spec)
        self._features = self._taken(random_features(spec, EXAMPLE_ROWS, device))
        self._model = served_model.Served(model.eval(), spec, "logits")

    def _taken(self, features: Tensors) -> Tensors:
        return {n: features[n][: 1 if n in self._user else None] for n in self._names}

    def load(self, kind: Served, facts: Facts) -> Server | None:
        """Export one format and load it.

        Returns None, and sets `facts.missing`, if an extra is missing.
        """
        tensors = (*self._model.parameters(), *self._model.buffers())
        facts.weights = sum(tensor.nbytes for tensor in tensors)
        return self._package(facts) if kind == "aotinductor" else self._onnx(facts)

    def _package(self, facts: Facts) -> Server:
        path = self._folder / PT2
        program = served_model.package_program_of(
            self._model, self._features, self._apart, self._user
        )
        lists = {"inputs": SEPARATOR.join(self._names), "outputs": SEPARATOR.join(self._tasks)}
        compile_package(program, self.inputs, self._features, path, lists)
        facts.file = path.stat().st_size
        started = time.perf_counter()
        score = Loader(path)
        facts.load = time.perf_counter() - started
        return lambda features: lambda: score(features)

    def _onnx(self, facts: Facts) -> Server | None:
        try:
            for package in ONNX_PACKAGES:
                importlib.import_module(package)
        except ImportError:
            facts.missing = EXTRA
            return None
        from homespec.export.onnx_file import Session, write_onnx

        path = self._folder / ONNX
        program = served_model.program_of(self._model, self._features, self._user)
        write_onnx(program, self._names, self._tasks, path)
        facts.file = sum(file.stat().st_size for file in self._folder.glob(f"{ONNX}*"))
        started = time.perf_counter()
        session = Session(path, torch.get_num_threads())
        facts.load = time.perf_counter() - started

        def server(features: Tensors) -> Callable[[], Mapping[str, Tensor]]:
            arrays = session.arrays(self._taken(features))
            return lambda: session.run(arrays)

        return server
