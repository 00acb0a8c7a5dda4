"""What the doctor costs but for the knock-outs, counted beside plain evaluation: no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from planted import planted
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from homespec.doctor.examine import Options, examine

MOST = 3
"""Times plain evaluation."""


class Elements(TorchDispatchMode):
    """Counts the numbers that operations read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        tensors = (t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor))
        self.count += sum(tensor.numel() for tensor in tensors)
        return result


@contextmanager
def elements() -> Iterator[Callable[[], int]]:
    with Elements() as mode:
        yield lambda: mode.count


@contextmanager
def flops() -> Iterator[Callable[[], int]]:
    with FlopCounterMode(display=False) as mode:
        yield mode.get_total_flops


@pytest.mark.parametrize("counting", [elements, flops])
def test_all_but_knock_outs_is_at_most_three_evaluations(counting: Any) -> None:
    run, rows = planted(lambda state: None)
    with counting() as of_evaluation, torch.no_grad():
        for batch in rows.batches():
            run.model(batch.features)
    with counting() as of_doctor:
        health = examine(run, rows, Options(sample_rows=0))
    assert health.rows == rows.rows
    assert of_evaluation() < of_doctor() <= MOST * of_evaluation()
