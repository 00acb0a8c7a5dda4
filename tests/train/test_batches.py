"""Batches: every row once, in an order by seed and epoch; one shape."""

from __future__ import annotations

import torch

from homespec.data.batches import InOrder, Shuffled
from homespec.data.reader import Examples

EXAMPLES = Examples({"f": torch.arange(10), "v": torch.arange(20.0).view(10, 2)},
                    {"t": torch.ones(10)})  # fmt: skip


def order(seed: int, epoch: int) -> list[int]:
    batches = Shuffled(EXAMPLES, 3, seed, epoch)
    return torch.cat([batch.features["f"] for batch in batches]).tolist()


def test_shuffled() -> None:
    assert len(Shuffled(EXAMPLES, 3, 0, 0)) == 3
    assert len(set(order(0, 0))) == 9  # one row is left out
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    left_out = {(set(range(10)) - set(order(0, epoch))).pop() for epoch in range(20)}
    assert len(left_out) > 3


def test_rows_stay_together() -> None:
    for batch in Shuffled(EXAMPLES, 5, 1, 0):
        assert batch.features["v"][:, 0].equal(2.0 * batch.features["f"])


def test_in_order_fills_the_last_batch_with_rows_without_labels() -> None:
    batches = list(InOrder(EXAMPLES, 4))
    assert len(batches) == len(InOrder(EXAMPLES, 4)) == 3
    assert [len(batch.labels["t"]) for batch in batches] == [4, 4, 4]
    assert torch.cat([batch.features["f"] for batch in batches]).tolist() == [*range(10), 0, 0]
    assert torch.cat([batch.labels["t"] for batch in batches]).isnan().tolist() == (
        [False] * 10 + [True] * 2
    )
    assert not EXAMPLES.labels["t"].isnan().any()
