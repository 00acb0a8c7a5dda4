"""Export: the subject of an export: a trained model and the model that is served in its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from homespec.api import PathLike, build_with_module
from homespec.compiler import with_tensors
from homespec.export import ExportError, Weights, manifest
from homespec.export.agreement import BATCHES
from homespec.export.graph_identity import graph_sha256
from homespec.export.inputs import Input, inputs_of
from homespec.export.number_types import number_types
from homespec.export.rounded_tables import round_tables, with_rounded_values
from homespec.export.samples import as_rows, samples
from homespec.export.served_model import Served
from homespec.header import spec_hash
from homespec.runtime import GeneratedModule
from homespec.schema.fitted_columns import VOCABULARY, word_columns
from homespec.scoring import Output
from homespec.train.load_run import Run, Which, load_run
from homespec.train.tensor_bytes import digest
from homespec.train.vocabularies import Vocabularies
from homespec.variant import UnknownNameError, Variant

FITTED = "features.", ".boundaries"
"""Prefix and suffix of the logical names of boundaries."""
LARGEST_LOG = 80.0
"""exp of larger numbers overflows float32."""


@dataclass(frozen=True)
class Options:
    """What is exported from a run, and how it is served."""

    tasks: tuple[str, ...] = ()
    """All tasks if empty."""
    output: Output = "probabilities"
    device: str = "cpu"
    numbers: str | Mapping[str, str] | None = None
    """float32 or float64, for all or by name; None for the types of the data's columns."""
    weights: Weights = "float32"
    """How the rows of embedding tables are stored; everything else is float32."""
    checkpoint: Which = "best"
    spec: PathLike | None = None
    """The spec of a run whose folder has none."""
    user_features: tuple[str, ...] = ()
    """The features that a request has once for all its candidates."""


class Subject:
    """A trained model, and its inference model for the served tasks."""

    def __init__(self, folder: Path, options: Options) -> None:
        """Load a run. Raises ExportError, RunError and SpecError."""
        if options.device == "cuda" and not torch.cuda.is_available():
            raise ExportError("--device cuda needs a GPU here, and a torch that is built for CUDA")
        self.folder, self.options = folder, options
        self.run: Run = load_run(
            folder, spec=options.spec, checkpoint=options.checkpoint, device=options.device
        )
        self.spec = self.run.spec

    @cached_property
    def user_features(self) -> tuple[str, ...]:
        """The user's, in the order of the spec. Raises ExportError for others than its features."""
        asked = Variant(mode="inference", user_features=self.options.user_features)
        try:
            given = with_tensors(self.spec, asked)
            return asked.asking(self.spec.tasks, given).user_features
        except UnknownNameError as error:
            raise ExportError(f"--user-features: {error}") from None

    @cached_property
    def _built(self) -> tuple[GeneratedModule, nn.Module]:
        wanted = self.options.tasks
        everything = set(wanted) == set(self.spec.tasks)
        user = self.user_features or None
        try:
            code, model = build_with_module(
                self.spec, mode="inference", tasks=None if everything else wanted or None,
                device=self.options.device, user_features=user,
            )  # fmt: skip
        except UnknownNameError as error:
            raise ExportError(f"--tasks: {error}") from None
        code.load_logical_state(model, self.logical)
        if self.options.weights != "float32":
            round_tables(model, self.options.weights)
        return code, model.eval()

    @cached_property
    def _expected(self) -> nn.Module:
        """The trained model, with the numbers of its tables rounded as they are stored."""
        if self.options.weights == "float32":
            return self.run.model
        return with_rounded_values(self.run.model, self.options.weights)

    @cached_property
    def served(self) -> Served:
        """The served model."""
        return Served(self._built[1], self.spec, self.options.output)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Its tasks, in the order of the spec."""
        return self._built[0].TASKS

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """Its inputs, in the order of the spec."""
        numbers = number_types(self.spec, self.folder, self.options.numbers)
        return inputs_of(self.spec, self._built[0].FEATURES, numbers, self.user_features)

    @property
    def of_user(self) -> tuple[str, ...]:
        """The names of the inputs that have one row."""
        return tuple(each.name for each in self.inputs if each.user)

    @cached_property
    def logical(self) -> dict[str, Tensor]:
        """Weights of the trained model by logical name."""
        return self.run.module.logical_state(self.run.model)

    @cached_property
    def weights_sha256(self) -> str:
        """The identity of its weights, as in a run that starts from them."""
        return digest(self.logical)

    @property
    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers of the served model, by their names in a package."""
        return {**dict(self.served.named_parameters()), **dict(self.served.named_buffers())}

    @cached_property
    def graph_sha256(self) -> str:
        """The identity of its package's code."""
        return graph_sha256(
            self.spec, self.tasks, self.options.output, self.options.weights, self.user_features
        )

    @cached_property
    def _boundaries(self) -> dict[str, list[float]]:
        """Boundaries by the tensor that owns a table, both from the spec and fitted.

        For scaled numbers, these are the numbers scaled to about -1, 0 and 1; for fitted
        vocabularies, their ids.
        """
        fields = self._built[0].FEATURES
        given = {n: [*field["boundaries"]] for n, field in fields.items() if "boundaries" in field}
        begin, end = FITTED
        fitted = {
            name.removeprefix(begin).removesuffix(end): tensor.tolist()
            for name, tensor in self.logical.items()
            if name.startswith(begin) and name.endswith(end)
        }
        columns = [each.name for each in self.inputs if each.tensor.scale]
        words: dict[str, list[float]] = {
            name: [*Vocabularies.numbers_of(self.logical[VOCABULARY.format(name)].tolist())]
            for name in word_columns(self.spec)
        }
        return given | fitted | words | {name: self._typical(name) for name in columns}

    def _typical(self, name: str) -> list[float]:
        """Numbers of a feature in the units of the training data."""
        scaling = self.logical.get(f"features.{name}.scaling")
        offset, unit = (0.0, 1.0) if scaling is None else scaling.tolist()
        typical = [offset - unit, offset, offset + unit]
        if self.spec.features[name].scale != "log":
            return typical
        return [math.copysign(math.expm1(min(abs(each), LARGEST_LOG)), each) for each in typical]

    def features(self, rows: int) -> dict[str, Tensor]:
        """Features that test the model, on its device."""
        drawn = samples(self.inputs, self._boundaries, rows)
        return {name: tensor.to(self.options.device) for name, tensor in drawn.items()}

    @cached_property
    def batches(self) -> dict[int, dict[str, Tensor]]:
        """Features by the number of rows."""
        return {rows: self.features(rows) for rows in BATCHES}

    @property
    def searches(self) -> bool:
        """Whether events are selected by scores, between which rounding may decide."""
        return any(
            encoder.kind == "twin" or (encoder.kind == "sim" and encoder.sim.search == "soft")
            for encoder in (
                feature.sequence.encoder
                for feature in self.spec.features.values()
                if feature.kind == "sequence"
            )
        )

    @cached_property
    def largest_logits(self) -> dict[str, float]:
        """The largest magnitude of each task's logits."""
        logits = self._trained(self.batches[max(BATCHES)], "logits")
        return {task: float(logit_B.abs().max()) for task, logit_B in logits.items()}

    def expected(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The trained model's eager outputs for the served tasks, with tables rounded as stored."""
        return self._trained(features, self.options.output)

    def lost_by_rounding(self) -> float:
        """The largest change of an output of the trained model by rounded tables."""
        features = self.batches[max(BATCHES)]
        exact = self._trained(features, self.options.output, self.run.model)
        rounded = self.expected(features)
        return max(float((rounded[task] - exact[task]).abs().max()) for task in self.tasks)

    def _trained(
        self, features: Mapping[str, Tensor], output: Output, model: nn.Module | None = None
    ) -> dict[str, Tensor]:
        trained = Served(model or self._expected, self.spec, output)
        rows = as_rows(self.inputs, features)
        with torch.no_grad():
            outputs = trained({n: t.to(self.options.device) for n, t in rows.items()})
        return {task: outputs[task] for task in self.tasks}

    def about(self) -> manifest.Json:
        """Its entries in manifest.json."""
        return {
            "format": manifest.FORMAT,
            "name": self.spec.name,
            **manifest.about_versions(self.options.device),
            "spec_sha256": spec_hash(self.spec.analysis.document),
            "graph_sha256": self.graph_sha256,
            "weights_sha256": self.weights_sha256,
            "checkpoint": self.options.checkpoint,
            "output": self.options.output,
            "weights": self.options.weights,
            "inputs": manifest.about_inputs(self.inputs),
            "tasks": manifest.about_tasks(self.spec, self.tasks, self.options.output),
            "text_ids": manifest.about_text_ids(),
        } | ({"user_features": [*self.user_features]} if self.user_features else {})
