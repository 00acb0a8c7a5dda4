"""Training steps with big embedding tables: dense Adam beside optimisers of the rows of a batch.

    python benchmarks/table_optimizers.py --rows 1000,50000

A model of 40 features (`--features`) with tables of `--rows` rows and width 16, merged into one,
and a small MMoE behind it. Every variant trains the same weights on the same random batches; all in
one process and in turns. Ratios to the first variant are taken within rounds. `leaves` are those of
homespec/train/sparse_embeddings.py; `sparse=True` is torch's own way, for which the features stay
eager.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any

import click
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import homespec
from homespec import runtime
from homespec.bench.allocator import keep_freed_memory
from homespec.bench.machine import machine
from homespec.bench.timing import interleaved, ratios, spread
from homespec.runtime import tables_of
from homespec.train.optimizers import RowwiseAdagrad
from homespec.train.sparse_embeddings import SparseTables

WIDTH = 16
Optimizer = Callable[[list[Tensor]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Optimizer] = {
    "Adam, fused": lambda tables: torch.optim.Adam(tables, fused=True),
    "Adagrad, fused": lambda tables: torch.optim.Adagrad(tables, fused=True),
    "Adagrad": torch.optim.Adagrad,
    "SparseAdam": torch.optim.SparseAdam,
    "row-wise Adagrad": RowwiseAdagrad,
}
VARIANTS = {
    "dense gradient, Adam, fused": ("dense", "Adam, fused"),
    "dense gradient, Adagrad, fused": ("dense", "Adagrad, fused"),
    "dense gradient, row-wise Adagrad": ("dense", "row-wise Adagrad"),
    "sparse=True, SparseAdam": ("sparse", "SparseAdam"),
    "sparse=True, Adagrad": ("sparse", "Adagrad"),
    "sparse=True, row-wise Adagrad": ("sparse", "row-wise Adagrad"),
    "leaves, SparseAdam": ("leaves", "SparseAdam"),
    "leaves, Adagrad": ("leaves", "Adagrad"),
    "leaves, row-wise Adagrad": ("leaves", "row-wise Adagrad"),
}


def spec_of(features: int, rows: int) -> homespec.LoadedSpec:
    """Features of one table size, four tasks."""
    names = "\n".join(f"  f{i}: {{id: {{buckets: {rows}}}, dim: {WIDTH}}}" for i in range(features))
    return homespec.loads(
        f"homespec: 1\nname: tables\nfamily: mmoe\nfeatures:\n{names}\n"
        "tasks: {a: {}, b: {}, c: {}, d: {}}\n"
        "experts: {hidden: [], width: 64, task: {shared: 4}}\ntowers: {hidden: []}\n"
    )


class Step:
    """A training step of one variant: compiled but for the look-ups of `sparse=True`."""

    def __init__(self, spec: homespec.LoadedSpec, gradient: str, optimizer: str) -> None:
        torch.manual_seed(0)
        code, self.model = homespec.build_module(spec), homespec.build(spec)
        tables = [table.get_parameter("weight") for table in tables_of(self.model).values()]
        dense = [p for p in self.model.parameters() if all(p is not table for table in tables)]
        self.sparse = SparseTables(self.model) if gradient == "leaves" else None
        self.optimizers = [torch.optim.Adam(dense, fused=True), OPTIMIZERS[optimizer](tables)]
        if gradient == "sparse":
            for table in tables_of(self.model).values():
                table.forward = MethodType(sparse_lookup, table)  # type: ignore[method-assign]
        self.loss_of = self._loss_of(code, eager_features=gradient == "sparse")

    def _loss_of(self, code: Any, eager_features: bool) -> Callable[..., Tensor]:
        features: nn.Module = self.model.get_submodule("features")
        trunk: nn.Module = self.model.get_submodule("trunk")
        if eager_features:

            def behind(v_BV: Tensor, labels: dict[str, Tensor]) -> Tensor:
                found: Tensor = code.loss(trunk(v_BV), labels)
                return found

            compiled = runtime.compiled(behind, dynamic=False)
            return lambda x, y: compiled(features(x), y)

        def whole(x: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
            found: Tensor = code.loss(trunk(features(x)), labels)
            return found

        return runtime.compiled(whole, dynamic=False)

    def __call__(self, features: dict[str, Tensor], labels: dict[str, Tensor]) -> None:
        """Forward, backward, both optimisers, gradients given up."""
        if self.sparse:
            self.sparse.fit(features)
        self.loss_of(features, labels).backward()
        if self.sparse:
            self.sparse.collect()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()


def sparse_lookup(table: Any, rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """The forward of a `Table` with torch's sparse gradient."""
    rows_BF = torch.stack([rows[name] for name in table.names], dim=1) + table.starts
    found = F.embedding(rows_BF, table.weight, sparse=True)
    return dict(zip(table.names, found.unbind(1), strict=True))


@click.command()
@click.option("--features", default=40, show_default=True)
@click.option("--rows", default="1000,50000", show_default=True, help="Rows of a table, a list.")
@click.option("--batch", default=2048, show_default=True)
@click.option("--rounds", default=11, show_default=True)
@click.option("--json", "json_to", type=click.Path(path_type=Path))
def main(features: int, rows: str, batch: int, rounds: int, json_to: Path | None) -> None:
    """Time the variants and print them as a table."""
    keep_freed_memory()
    console = Console(highlight=False)
    found: dict[str, Any] = {"machine": machine("cpu")}
    console.print(found["machine"])
    for count in map(int, rows.split(",")):
        times = _times(features, count, batch, rounds)
        shown = Table(
            "variant", "ms", "as fast", title=f"{features} × {count:,} × {WIDTH}, batch {batch}"
        )
        for name, ratio in ratios(times, next(iter(times))).items():
            of = f"{ratio.median:.2f}× [{ratio.low:.2f}, {ratio.high:.2f}]"
            shown.add_row(name, f"{spread(times[name]).median:.1f}", of)
        console.print(shown)
        found[str(count)] = times
    if json_to:
        json_to.write_text(json.dumps(found, default=str) + "\n")


def _times(features: int, rows: int, batch: int, rounds: int) -> dict[str, list[float]]:
    spec = spec_of(features, rows)
    batches = [
        {f"f{i}": torch.randint(0, rows, (batch,)) for i in range(features)} for _ in range(8)
    ]
    labels = {task: torch.randint(0, 2, (batch,)).float() for task in "abcd"}
    steps = {name: Step(spec, *variant) for name, variant in VARIANTS.items()}
    calls = dict.fromkeys(steps, 0)

    def call(name: str) -> None:
        calls[name] += 1
        steps[name](batches[calls[name] % len(batches)], labels)

    return interleaved({n: lambda n=n: call(n) for n in steps}, rounds, "cpu")


if __name__ == "__main__":
    main()
