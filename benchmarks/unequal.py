"""What to do with matrices of unequal width: a product each, padding, splitting or `grouped_mm`.

    python benchmarks/unequal.py [--rounds N] [--json FILE]

G groups of tasks read a state each, [G, N, B], and need a different number of outputs: gates of 2,
3, 5 and 7 tasks, or sets of 1, 2, 3 and 4 experts. In the last cases all read one value: today's
code has a product for each number of experts. Prints how many times as fast forward and backward
are, compiled, as with one product for each; medians of interleaved rounds with quartiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import lab
import torch
import torch.nn.functional as F
from torch import Tensor

from homespec.bench.machine import keep_freed_memory
from homespec.bench.timing import interleaved, ratios
from homespec.runtime import compiled


@dataclass(frozen=True)
class Case:
    """`units` of each group, `width` outputs for each, that read N numbers in B rows.

    With `one` all groups read the same value.
    """

    name: str
    units: tuple[int, ...]
    width: int
    reads: int
    rows: int
    one: bool = False

    @property
    def outputs(self) -> list[int]:
        """The number of outputs of each group."""
        return [count * self.width for count in self.units]


CASES = (
    Case("gates of 2, 3, 5, 7 tasks, batch 512", (2, 3, 5, 7), 24, 128, 512),
    Case("gates of 2, 3, 5, 7 tasks, batch 4096", (2, 3, 5, 7), 24, 256, 4096),
    Case("sets of 1, 2, 3, 4 experts, batch 512", (1, 2, 3, 4), 64, 128, 512),
    Case("sets of 1, 2, 3, 4 experts, batch 4096", (1, 2, 3, 4), 256, 256, 4096),
    Case("sets of 2, 2, 2, 16 experts, batch 512", (2, 2, 2, 16), 64, 128, 512),
    Case("sets of 4 and 8 experts on one value, batch 512", (4, 8), 64, 128, 512, one=True),
    Case("sets of 4 and 8 experts on one value, batch 4096", (4, 8), 256, 256, 4096, one=True),
)
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}

Form = Callable[[Tensor, list[Tensor]], Tensor]


def each(x_GNB: Tensor, weights: list[Tensor]) -> Tensor:
    """One product for each group, as generated today."""
    return _used([weight_CN @ x_NB for x_NB, weight_CN in zip(x_GNB, weights, strict=True)])


def padded(x_GNB: Tensor, weights: list[Tensor]) -> Tensor:
    """All groups as wide as the widest one: one batched product, and the padding is cut off."""
    widest = max(len(weight) for weight in weights)
    weight_GCN = torch.stack([F.pad(w, (0, 0, 0, widest - len(w))) for w in weights])
    u_GCB = torch.bmm(weight_GCN, x_GNB)
    return _used([u_CB[: len(w)] for u_CB, w in zip(u_GCB, weights, strict=True)])


def split(unit: int) -> Form:
    """Pieces of one unit each: one batched product over all; each reads its group's value."""

    def form(x_GNB: Tensor, weights: list[Tensor]) -> Tensor:
        counts = [len(weight) // unit for weight in weights]
        x_UNB = torch.cat([x[None].expand(n, -1, -1) for x, n in zip(x_GNB, counts, strict=True)])
        weight_UCN = torch.cat([weight.view(-1, unit, weight.shape[1]) for weight in weights])
        return _used(list(torch.bmm(weight_UCN, x_UNB).unbind()))

    return form


def grouped(x_GNB: Tensor, weights: list[Tensor]) -> Tensor:
    """`F.grouped_mm` with the groups' outputs below each other."""
    ends = torch.tensor([len(w) for w in weights]).cumsum(0).to(torch.int32)
    u_CB = F.grouped_mm(torch.cat(weights), x_GNB, offs=ends)
    return _used(list(u_CB.split([len(w) for w in weights])))


def wide(x_GNB: Tensor, weights: list[Tensor]) -> Tensor:
    """One wide product where all groups read the same value."""
    u_CB = torch.cat(weights) @ x_GNB[0]
    return _used(list(u_CB.split([len(w) for w in weights])))


def _used(parts: list[Tensor]) -> Tensor:
    """What follows reads every part once."""
    return torch.stack([F.silu(part).sum() for part in parts]).sum()


def forms_of(case: Case) -> dict[str, Form]:
    """What there is to try."""
    if case.one:
        return {"each": each, "wide": wide}
    return {"each": each, "padded": padded, "split": split(case.width), "grouped_mm": grouped}


def step(form: Form, case: Case, dtype: torch.dtype) -> Callable[[], None]:
    """Forward and backward of a form, compiled."""
    torch.manual_seed(0)
    sources = 1 if case.one else len(case.units)
    x = torch.randn(sources, case.reads, case.rows, dtype=dtype, requires_grad=True)
    weights = [
        torch.randn(n, case.reads, dtype=dtype).div(case.reads).requires_grad_()
        for n in case.outputs
    ]
    run = compiled(form, dynamic=False)

    def action() -> None:
        run(x.expand(len(case.units), -1, -1), weights).backward()  # type: ignore[no-untyped-call]
        x.grad = None
        for weight in weights:
            weight.grad = None

    return action


def measured(case: Case, precision: str, rounds: int) -> dict[str, Any]:
    """Ratios by form; of what this version of torch cannot do, the reason."""
    actions, cannot = {}, {}
    for name, form in forms_of(case).items():
        torch._dynamo.reset()
        action = step(form, case, DTYPES[precision])
        try:
            action()
            actions[name] = action
        except Exception as error:
            cannot[name] = str(error).strip().splitlines()[-1]
    spreads = ratios(interleaved(actions, rounds, "cpu"), "each")
    faster = {name: asdict(spread) for name, spread in spreads.items()}
    return {"case": case.name, "precision": precision, "ratios": faster, "cannot": cannot}


def main() -> None:
    """Print ratios: above 1 is faster than a product for each group."""
    parser = lab.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    keep_freed_memory()
    cases = []
    for precision in DTYPES:
        for case in CASES:
            cases.append(measured(case, precision, given.rounds))
            print(f"{case.name}, {precision}", flush=True)
            for name, ratio in cases[-1]["ratios"].items():
                print(f"  {name:12} {lab.shown(ratio)}", flush=True)
            for name, reason in cases[-1]["cannot"].items():
                print(f"  {name:12} {reason}", flush=True)
    lab.write(given.json, settings={"rounds": given.rounds}, seed=0, cases=cases)


if __name__ == "__main__":
    main()
