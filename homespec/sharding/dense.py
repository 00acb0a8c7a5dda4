"""Sharding: the generated model without its tables, applied to embeddings fetched for a batch.

The generated `Features` is used with its searches, sequence encoders, projections and boundaries.
Only its look-ups are replaced, by `FetchedTable`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedTensor

from homespec.api import LoadedSpec, build_module
from homespec.runtime import Fields, GeneratedModule, module_of
from homespec.schema.fitted_columns import (
    BOUNDARIES,
    SCALING,
    fitted_columns,
    scaled_columns,
)
from homespec.sharding.boundaries import Boundaries, Frozen, Scaling, frozen, set_boundaries
from homespec.sharding.partition import unescaped
from homespec.sharding.preprocess import Inputs

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Embeddings:
    """The embeddings fetched for a batch of B examples.

    `pooled`: [B, width] by tensor. `rows`: [U] by table, the distinct rows that the batch needs,
    ascending. `unpooled`: [U, width] by table, their embeddings.
    """

    pooled: dict[str, Tensor]
    rows: dict[str, Tensor]
    unpooled: dict[str, Tensor]


class FetchedTable(nn.Module):
    """Replaces a generated `Table`: looks up embeddings in those fetched for the batch."""

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self.tables = {name: field.get("table", name) for name, field in fields.items()}
        self.batch: Embeddings | None = None

    def forward(self, rows: Tensors) -> Tensors:
        """Rows of any shape by tensor, also of other tables -> embeddings [..., width]."""
        return {name: self.peek(name, rows[name]) for name in self.tables}

    def peek(self, name: str, rows: Tensor) -> Tensor:
        """The embeddings of one tensor's rows."""
        batch = self.batch
        assert batch is not None, "outside of `Dense`"
        if name in batch.pooled:
            return batch.pooled[name]
        table = self.tables[name]
        return F.embedding(torch.searchsorted(batch.rows[table], rows), batch.unpooled[table])


class Dense(nn.Module):
    """Features and their embeddings -> logits [B] by task: all weights except the tables.

    Parameters and buffers have the names of the generated model, so the functions of the generated
    file also work on this module. TorchRec's pipelines treat it as a unit, because they trace only
    the modules beside the tables.
    """

    def __init__(self, spec: LoadedSpec) -> None:
        super().__init__()
        code = build_module(spec)
        self.features = code.Features(FetchedTable)
        self.trunk = code.Trunk()
        self.fitted, self.scaled = tuple(fitted_columns(spec)), tuple(scaled_columns(spec))
        self.unset = self.fitted + self.scaled
        self.boundaries: Frozen = {}

    @property
    def code(self) -> GeneratedModule:
        """The generated module; not an attribute, because modules cannot be copied with a model."""
        return module_of(self.trunk)

    def set_boundaries(self, boundaries: Boundaries) -> None:
        """Set the fitted boundaries. KeyError and ValueError name the mistake."""
        set_boundaries(self.code, self, self.fitted, boundaries)
        self.freeze()

    def set_scaling(self, scaling: Scaling) -> None:
        """Set the offsets and units of numbers. KeyError and ValueError name the mistake."""
        if self.scaled:
            self.code.set_scaling(self, scaling)
        elif scaling:
            raise KeyError(f"the spec scales no numbers: unknown {sorted(scaling)}")
        self.freeze()

    def freeze(self) -> None:
        """Record that boundaries and scalings have been set."""
        self.boundaries = frozen(self.code, self, self.fitted)
        state = self.logical_state()
        unset = [name for name in self.scaled if state[SCALING.format(name)].isnan().any()]
        self.unset = (*(name for name in self.fitted if name not in self.boundaries), *unset)

    def logical_state(self) -> Tensors:
        """Views of the weights and statistics by logical name."""
        return self.code.logical_state(self)

    def statistics(self) -> list[Tensor]:
        """The running statistics: tensors of the state that are neither learned nor fitted."""
        kept = self.state_dict().keys() - dict(self.named_parameters()).keys()
        fitted = {BOUNDARIES.format(name) for name in self.fitted}
        fitted |= {SCALING.format(name) for name in self.scaled}
        return [
            buffer
            for name, buffer in sorted(self.named_buffers())
            if name in kept and fitted.isdisjoint(self.code.logical_views(self, {name: buffer}))
        ]

    def forward(
        self, inputs: Inputs, pooled: KeyedTensor | None, unpooled: list[dict[str, JaggedTensor]]
    ) -> dict[str, Tensor]:
        """Map `Inputs` and the embeddings of its collections to logits [B] by task.

        Raises ValueError if the rows were found by other boundaries than the model's.
        """
        self._check(inputs.boundaries)
        embeddings = Embeddings(
            pooled.to_dict() if pooled is not None else {},
            {unescaped(n): each.values() for n, each in inputs.of_events_by_table().items()},
            {unescaped(n): each.values() for by_table in unpooled for n, each in by_table.items()},
        )
        weight = next(self.trunk.parameters())
        # Values of pooled features, which have already been looked up. One stands for all of them,
        # because a cross may put them beside ids that are not pooled.
        nothing = torch.zeros(1, dtype=torch.int64, device=weight.device)
        read = {**dict.fromkeys(embeddings.pooled, nothing), **inputs.features}
        logits_TB = self.trunk(self._features(read, embeddings).to(weight.dtype))
        return dict(zip(self.code.TASKS, logits_TB.unbind(), strict=True))

    def _features(self, features: Tensors, embeddings: Embeddings) -> Tensor:
        """The generated `Features`, whose tables hold this batch while it runs."""
        tables = [table for table in self.modules() if isinstance(table, FetchedTable)]
        for table in tables:
            table.batch = embeddings
        try:
            return self.features(features)
        finally:
            for table in tables:
                table.batch = None

    def _check(self, boundaries: Frozen) -> None:
        if self.unset:
            raise ValueError(
                f"{self._missing()} not known: pass them to `build`, or load trained weights"
            )
        if boundaries != self.boundaries:
            differ = [name for name in self.boundaries if boundaries[name] != self.boundaries[name]]
            raise ValueError(
                f"rows were computed with boundaries of {', '.join(differ)} that differ from the "
                "model's: make `Preprocessor` with those of the model's weights "
                "(sharding.boundaries_of)"
            )

    def _missing(self) -> str:
        """The unset values, with a verb."""
        boundaries, scaling = (
            ", ".join(name for name in names if name in self.unset)
            for names in (self.fitted, self.scaled)
        )
        if boundaries and scaling:
            return f"the boundaries of {boundaries} and the scaling of {scaling} are"
        return (
            f"the boundaries of {boundaries} are" if boundaries else f"the scaling of {scaling} is"
        )
