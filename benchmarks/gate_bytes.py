"""How many bytes feature gates move: as inductor compiles them, and at least. Needs no GPU.

    python benchmarks/gate_bytes.py [--rows public=2048,industrial=4096]

Compiles `FeatureGates` of the portable file, one batch of gates of a spec at a time, and adds up
what inductor counts (`torch._inductor.metrics`): each kernel and each call of a library reads its
inputs and writes its outputs once. The schedule is that for a CPU, in float32. Beside it

* the floor, forward: read x, the low ranks, the weights of LoRAs and `up`, write the gated x;
  backward: read these and the gradient of the gated x, write the gradients by all of them;
* the kernels of `--target cuda`, from what they are written to load and store: `cached` if the
  tiles that neighbours share (x of several sets, sums over them) stay in the GPU's cache,
  `uncached` if none of them does. Low ranks and `up` are small: they count once for each kernel.

These are counts, no measurements of time.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import lab
import torch
from torch import nn
from torch._functorch import config as functorch
from torch._inductor import compile_fx, config, metrics

import homespec
from homespec.graph.nodes import Batch, FeatureGate
from homespec.passes import optimise
from homespec.runtime import GeneratedModule

NUMBER = 4
"""Bytes of a float32."""

BLOCK_B, BLOCK_N, PARTS = 32, 64, 256
"""As `rewind_gates` of a generated file has them for one LoRA or two."""


@dataclass(frozen=True)
class Gates:
    """A batch of `sets` gates on N = `width` numbers of B = `rows` samples; `inputs` is 1 or S."""

    name: str
    node: str
    """The first one's, in the graph."""
    sets: int
    inputs: int
    rows: int
    width: int
    loras: int
    rank: int

    @property
    def x(self) -> int:
        """Numbers of x; the gated x has `sets / inputs` times as many."""
        return self.inputs * self.rows * self.width

    @property
    def gated(self) -> int:
        """Numbers of the gated x."""
        return self.sets * self.rows * self.width

    @property
    def small(self) -> int:
        """Numbers of the low ranks and the weights of LoRAs in the mixture."""
        return self.sets * self.rows * self.loras * (self.rank + 1)

    @property
    def up(self) -> int:
        """Numbers of the weight."""
        return self.sets * self.loras * self.width * self.rank

    def floor(self) -> tuple[int, int]:
        """Bytes forward and backward that no implementation without atomics can do without."""
        read = self.x + self.small + self.up
        return NUMBER * (read + self.gated), NUMBER * (2 * read + self.gated)

    def kernels(self, cached: bool) -> tuple[int, int]:
        """Bytes of the Triton kernels, forward and backward."""
        x = self.x if cached else self.gated
        read = x + self.small + self.up
        blocks_b, blocks_n = -(-self.rows // BLOCK_B), -(-self.width // BLOCK_N)
        parts = max(1, min(blocks_b, PARTS // (self.sets * blocks_n)))
        of_x = self.x if cached else 2 * self.gated - self.x  # later sets read the existing values
        by_rows = self.gated + read + of_x + self.small
        by_columns = self.gated + read + parts * self.up
        return NUMBER * (read + self.gated), NUMBER * (by_rows + by_columns + (parts + 1) * self.up)


def gates_of(name: str, rows: int) -> Iterator[Gates]:
    """The batches of feature gates of a spec."""
    graph = optimise(homespec.load(lab.SPECS / f"{name}.yaml").analysis.graph)
    for node in graph:
        first = node.members[0] if isinstance(node, Batch) else node
        if isinstance(node, Batch) and isinstance(first, FeatureGate):
            inputs = len({member.reads[0] for member in node.members})
            count = len(node.members)
            yield Gates(
                f"{name}, {first.layer}", first.name, count, 1 if inputs == 1 else count, rows,
                first.width, first.loras, first.rank,
            )  # fmt: skip


def module_of(gates: Gates, code: GeneratedModule, model: nn.Module) -> nn.Module:
    """The module that computes these gates: it has their weights."""
    up = f"{gates.node}.loras.0.up.weight"
    tensor = next(tensor for tensor, name, _ in code.logical_names(model) if name == up)
    return model.get_submodule(tensor.rpartition(".")[0])


def compiled(gates: Gates, module: nn.Module) -> tuple[int, int]:
    """Bytes that inductor counts, forward and backward."""
    torch._dynamo.reset()
    metrics.reset()
    sets, rows = gates.sets, gates.rows
    x = torch.randn(gates.inputs, gates.width, rows, requires_grad=True)
    low = torch.randn(sets * gates.loras, gates.rank, rows, requires_grad=True)
    router = torch.randn(sets, gates.loras, rows, requires_grad=True)
    out = torch.compile(module, fullgraph=True, dynamic=False)(x, low, router)
    forward = metrics.num_bytes_accessed
    out.backward(torch.ones_like(out))
    return forward, metrics.num_bytes_accessed - forward


def rows_of(name: str, rows: int) -> Iterator[list[str]]:
    """For each batch of gates and pass of a spec: megabytes, and how many times the floor."""
    code, model = homespec.build_with_module(lab.SPECS / f"{name}.yaml")
    for gates in gates_of(name, rows):
        measured = compiled(gates, module_of(gates, code, model))
        counts = (gates.floor(), measured, gates.kernels(True), gates.kernels(False))
        shape = [str(rows), str(gates.sets), str(gates.width)]
        for index, step in enumerate(("forward", "backward")):
            floor, *others = (count[index] for count in counts)
            ratios = [f"{other / floor:.2f} ×" for other in others]
            yield [gates.name, *shape, step, f"{floor / 1e6:.1f}", *ratios]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="public=2048,industrial=4096", help="rows of each spec")
    pairs = (pair.split("=") for pair in parser.parse_args().rows.split(","))
    config.fx_graph_cache = functorch.enable_autograd_cache = False  # it would not count
    log = compile_fx.inductor_metrics_log  # inductor counts only for its log
    log.setLevel(logging.INFO)
    log.propagate, log.handlers = False, [logging.NullHandler()]
    head = ["gates", "B", "S", "N", "", "floor MB", "inductor", "kernels, cached"]
    rows = [row for name, count in pairs for row in rows_of(name, int(count))]
    print("\n".join(lab.table([*head, "kernels, uncached"], rows)))


if __name__ == "__main__":
    main()
