"""Training: gradients of embedding tables only for the rows of a batch, eager and compiled.

A table's dense gradient is as large as the table, and almost all of it is zero. Here, the tables'
weights are not differentiated, but the looked-up values are: a forward hook adds a leaf of zeros to
them, whose gradient is that of the look-up, and stores the rows. Afterwards, both become a sparse
gradient of the weight, for any optimiser that supports one. All shapes are fixed, so the step is a
single graph for torch.compile, which optimises the addition away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from homespec.runtime import EmbeddingTable, SeveralTables, tables_of
from homespec.train.distributed import all_gather
from homespec.train.frozen import Frozen

Features = Mapping[str, Tensor]


class SparseTables:
    """Takes control of the tables of a model. For each step:

        tables.fit(features)
        losses_T = step(features, labels)       # eager or compiled
        ...                                     # differentiate with respect to tables.leaves, too
        tables.set_aside()                      # which may follow several backward passes
        tables.collect()                        # weight.grad of each table, sparse

    Only look-ups in training mode with gradients on are differentiated.
    """

    def __init__(self, model: nn.Module, frozen: Frozen | None = None) -> None:
        """Exclude the tables' weights from differentiation, and hook their look-ups.

        Look-ups of `frozen` tables have no gradient.
        """
        self._frozen = frozen
        self.features: nn.Module = model.get_submodule("features")
        self.tables = tables_of(model)
        self.leaves: dict[str, Tensor] = {}
        """By `TABLE/FEATURE`: zeros of the shape of a look-up [..., E]."""
        self.rows: dict[str, Tensor] = {}
        """By `TABLE/FEATURE`: the rows of the table that the last step looked up, int64 [...]."""
        self._set_aside: list[tuple[str, Tensor, Tensor]] = []
        """Table, rows of a look-up, and a tensor whose `.grad` is that of the look-up."""
        self._trained: dict[str, Tensor] = {}
        """By `TABLE/FEATURE`, where a part of a look-up is frozen: which columns are not."""
        self._shapes: dict[str, torch.Size] = {}
        self._measuring = False
        for name, table in self.tables.items():
            table.get_parameter("weight").requires_grad_(False)
            table.register_forward_hook(self._hook(name))

    def fit(self, features: Features) -> None:
        """Create leaves for look-ups of this shape, unless existing ones fit."""
        shapes = {name: column.shape for name, column in features.items()}
        if shapes == self._shapes:
            return
        training = self.features.training
        self.leaves.clear()
        self.rows.clear()
        self._measuring = True
        try:
            with torch.no_grad():
                self.features.eval()(features)  # running statistics stay as they are
        finally:
            self._measuring = False
            self.features.train(training)
        self._shapes = shapes

    def _hook(self, name: str) -> Callable[[nn.Module, Any, dict[str, Tensor]], Any]:
        """The hook after a table's forward: rows by feature -> embeddings by feature."""

        def hook(table: nn.Module, args: Any, embeddings: dict[str, Tensor]) -> Any:
            if self._measuring:
                self._measure(name, table, args[0], embeddings)
            if not (torch.is_grad_enabled() and table.training):
                return None
            for feature in embeddings:
                self.rows[f"{name}/{feature}"] = rows_in(table, feature, args[0][feature])
            return {f: each + self._leaf(f"{name}/{f}") for f, each in embeddings.items()}

        return hook

    def _measure(
        self, name: str, table: nn.Module, rows: Mapping[str, Tensor], embeddings: dict[str, Tensor]
    ) -> None:
        weight = table.get_parameter("weight")
        for feature, each in embeddings.items():
            own = rows_in(table, feature, rows[feature])
            if not torch.equal(weight[own].view(each.shape), each):
                raise AssertionError(
                    f"{name} returns for {feature} a value that is not in these rows"
                )
            self.rows[f"{name}/{feature}"] = own
            starts = rows_in(table, feature, torch.zeros((), dtype=torch.int64, device=own.device))
            frozen = [self._is_frozen(f"{name}.weight", row) for row in starts.flatten().tolist()]
            self.leaves[f"{name}/{feature}"] = torch.zeros_like(each, requires_grad=not all(frozen))
            if any(frozen) and not all(frozen):  # one of the tables at several nodes of the tree
                trained = torch.tensor(frozen, device=own.device).logical_not()
                self._trained[f"{name}/{feature}"] = trained.repeat_interleave(weight.shape[1])

    def _is_frozen(self, weight: str, row: int) -> bool:
        return self._frozen is not None and self._frozen.has_row(weight, row)

    def _leaf(self, key: str) -> Tensor:
        """The leaf of a look-up, which gets no gradient where a table is frozen."""
        leaf = self.leaves[key]
        return leaf * self._trained[key] if key in self._trained else leaf

    def set_aside(self) -> None:
        """Set the leaves' gradients and rows aside, so that the next step starts afresh."""
        for key, leaf in self.leaves.items():
            if leaf.grad is not None:
                kept = leaf.detach()
                kept.grad, leaf.grad = leaf.grad, None
                self._set_aside.append((key.rpartition("/")[0], self.rows[key], kept))

    @property
    def pending(self) -> list[Tensor]:
        """Tensors whose `.grad` are the gradients waiting for `collect`."""
        return [kept for _, _, kept in self._set_aside]

    def collect(self) -> None:
        """Turn the gradients set aside into a sparse gradient of each table, averaged over ranks.

        A row that was looked up more than once occurs more than once: `coalesce` sums them.
        """
        for name, table in self.tables.items():
            weight = table.get_parameter("weight")
            own = [(rows, kept.grad) for table_, rows, kept in self._set_aside if table_ == name]
            if own:
                rows_N = torch.cat([rows.flatten() for rows, _ in own])
                grads_NE = torch.cat([g.view(-1, weight.shape[1]) for _, g in own if g is not None])
                weight.grad = sparse(rows_N, grads_NE, weight.shape)
        self._set_aside.clear()


def sparse(rows_N: Tensor, grads_NE: Tensor, shape: torch.Size) -> Tensor:
    """A sparse gradient of a table of this shape, the mean over all ranks of a process group."""
    (rows_N, grads_NE), ranks = all_gather(rows_N, grads_NE)
    return torch.sparse_coo_tensor(
        rows_N.unsqueeze(0), grads_NE / ranks if ranks > 1 else grads_NE, shape,
        check_invariants=False,
    )  # fmt: skip


def rows_in(table: nn.Module, feature: str, rows: Tensor) -> Tensor:
    """The rows of a feature [...] in the whole table; [..., P] if it has P tables in it."""
    if isinstance(table, SeveralTables):
        return table.rows_of(feature, rows)
    assert isinstance(table, EmbeddingTable)
    return rows + table.starts[feature]
