"""Training steps with big embedding tables: dense Adam beside optimisers of the rows of a batch.

    python benchmarks/table_optimizers.py --rows 1000,50000

A model of 40 features (`--features`) with tables of `--rows` rows and width 16, merged into one,
followed by a small MMoE. Every variant trains the same weights on the same random batches; all in
one process and in turns. Ratios to the first variant are taken within rounds. `leaves` are those of
homespec/train/sparse_embeddings.py; `sparse=True` is torch's own way, for which the features stay
eager.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import lab
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

import homespec
from homespec import runtime
from homespec.bench import report
from homespec.bench.machine import keep_freed_memory
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
        code, self.model = homespec.build_with_module(spec)
        tables = [table.get_parameter("weight") for table in tables_of(self.model).values()]
        dense = [p for p in self.model.parameters() if all(p is not table for table in tables)]
        self.sparse = SparseTables(self.model) if gradient == "leaves" else None
        self.optimizers = [torch.optim.Adam(dense, fused=True), OPTIMIZERS[optimizer](tables)]
        if gradient == "sparse":
            for table in tables_of(self.model).values():
                table.forward = MethodType(sparse_lookup, table)  # type: ignore[method-assign]
        features, trunk = self.model.features, self.model.trunk

        def loss_of_v(v_BV: Tensor, labels: dict[str, Tensor]) -> Tensor:
            return code.loss(trunk(v_BV), labels)

        def loss_of(x: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
            return loss_of_v(features(x), labels)

        self.loss_of = runtime.compiled(loss_of, dynamic=False)
        if gradient == "sparse":  # which is eager
            compiled = runtime.compiled(loss_of_v, dynamic=False)
            self.loss_of = lambda x, labels: compiled(features(x), labels)

    def __call__(self, features: dict[str, Tensor], labels: dict[str, Tensor]) -> None:
        """Forward, backward, both optimisers, gradients given up."""
        if self.sparse:
            self.sparse.fit(features)
        self.loss_of(features, labels).backward()
        if self.sparse:
            self.sparse.set_aside()
            self.sparse.collect()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()


def sparse_lookup(table: Any, rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """The forward of a `Table` with torch's sparse gradient."""
    rows_BF = torch.stack([rows[name] + start for name, start in table.starts.items()], dim=1)
    embeddings = F.embedding(rows_BF, table.weight, sparse=True).unbind(1)
    return dict(zip(table.starts, embeddings, strict=True))


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


def main() -> None:
    """Time the variants and print them as a table."""
    parser = lab.parser(__doc__)
    parser.add_argument("--features", type=int, default=40)
    parser.add_argument("--rows", type=lab.integers, default=[1000, 50000], help="of a table")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=11)
    given = parser.parse_args()
    keep_freed_memory()
    console, of_sizes = Console(highlight=False), {}
    for count in given.rows:
        times = of_sizes[str(count)] = _times(given.features, count, given.batch, given.rounds)
        console.print(f"{given.features} × {count:,} × {WIDTH}, batch {given.batch}")
        milliseconds = [f"{spread(taken).median:.1f}" for taken in times.values()]
        faster = [report.shown(ratio) for ratio in ratios(times, next(iter(times))).values()]
        console.print(report.table(times, [("ms", milliseconds), ("× as fast", faster)]))
    lab.write(given.json, **of_sizes)


if __name__ == "__main__":
    main()
