"""What to do with matrices of unequal width: a product each, padding, splitting or `grouped_mm`.

    python benchmarks/unequal.py [--rounds N]

G groups of tasks read a state each, [G, B, N], and need a different number of columns: gates of 2,
3, 5 and 7 tasks, or sets of 1, 2, 3 and 4 experts. Prints how long forward and backward take,
compiled, against one product for each group; medians of interleaved rounds with quartiles.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from homespec.bench.memory import keep_freed_memory
from homespec.bench.timing import interleaved, ratios
from homespec.runtime import compiled


@dataclass(frozen=True)
class Case:
    """`units` of each group, `width` columns for each, that read N numbers in B rows."""

    name: str
    units: tuple[int, ...]
    width: int
    reads: int
    rows: int

    @property
    def columns(self) -> list[int]:
        """Of each group."""
        return [count * self.width for count in self.units]


CASES = (
    Case("gates of 2, 3, 5, 7 tasks, batch 512", (2, 3, 5, 7), 24, 128, 512),
    Case("gates of 2, 3, 5, 7 tasks, batch 4096", (2, 3, 5, 7), 24, 256, 4096),
    Case("sets of 1, 2, 3, 4 experts, batch 512", (1, 2, 3, 4), 64, 128, 512),
    Case("sets of 1, 2, 3, 4 experts, batch 4096", (1, 2, 3, 4), 256, 256, 4096),
    Case("sets of 2, 2, 2, 16 experts, batch 512", (2, 2, 2, 16), 64, 128, 512),
)

Form = Callable[[Tensor, list[Tensor]], Tensor]


def each(x_GBN: Tensor, weights: list[Tensor]) -> Tensor:
    """One product for each group, as generated today."""
    parts = [x_BN @ weight_CN.mT for x_BN, weight_CN in zip(x_GBN, weights, strict=True)]
    return _used(parts)


def padded(x_GBN: Tensor, weights: list[Tensor]) -> Tensor:
    """All groups as wide as the widest one: one batched product, and the padding is cut off."""
    widest = max(len(weight) for weight in weights)
    weight_GCN = torch.stack([F.pad(w, (0, 0, 0, widest - len(w))) for w in weights])
    u_GBC = torch.bmm(x_GBN, weight_GCN.mT)
    return _used([u_BC[:, : len(w)] for u_BC, w in zip(u_GBC, weights, strict=True)])


def split(unit: int) -> Form:
    """Pieces of one unit each: one batched product over all, that reads each group's value anew."""

    def form(x_GBN: Tensor, weights: list[Tensor]) -> Tensor:
        counts = [len(weight) // unit for weight in weights]
        x_UBN = torch.cat([x[None].expand(n, -1, -1) for x, n in zip(x_GBN, counts, strict=True)])
        weight_UCN = torch.cat([weight.view(-1, unit, weight.shape[1]) for weight in weights])
        return _used(list(torch.bmm(x_UBN, weight_UCN.mT).unbind()))

    return form


def grouped(x_GBN: Tensor, weights: list[Tensor]) -> Tensor:
    """`F.grouped_mm` with the groups' columns side by side."""
    ends = torch.tensor([len(w) for w in weights]).cumsum(0).to(torch.int32)
    weight_NC = torch.cat(weights).mT
    u_BC = F.grouped_mm(x_GBN, weight_NC, offs=ends)
    return _used(list(u_BC.split([len(w) for w in weights], dim=1)))


def _used(parts: list[Tensor]) -> Tensor:
    """What follows reads every part once."""
    return torch.stack([F.silu(part).sum() for part in parts]).sum()


def step(form: Form, case: Case) -> Callable[[], None]:
    """Forward and backward of a form, compiled."""
    torch.manual_seed(0)
    x = torch.randn(len(case.units), case.rows, case.reads, requires_grad=True)
    weights = [torch.randn(n, case.reads).div(case.reads).requires_grad_() for n in case.columns]
    run = compiled(form, dynamic=False)

    def action() -> None:
        run(x, weights).backward()  # type: ignore[no-untyped-call]
        x.grad = None
        for weight in weights:
            weight.grad = None

    return action


def main() -> None:
    """Print a table of ratios: above 1 is faster than a product for each group."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    keep_freed_memory()
    for case in CASES:
        forms = {"each": each, "padded": padded, "split": split(case.width), "grouped_mm": grouped}
        actions = {}
        for name, form in forms.items():
            torch._dynamo.reset()
            try:
                actions[name] = step(form, case)
                actions[name]()
            except Exception as error:  # what a version of torch cannot do is a result, too
                del actions[name]
                print(f"  {name}: {str(error).splitlines()[0][:90]}")
        print(case.name)
        for name, ratio in ratios(interleaved(actions, rounds, "cpu"), "each").items():
            print(f"  {name:12} {ratio.median:5.2f}  [{ratio.low:.2f}, {ratio.high:.2f}]")


if __name__ == "__main__":
    main()
