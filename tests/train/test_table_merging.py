"""Whether a run merges tables of one width: as asked, else where it is faster."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from homespec.train.settings import Settings
from homespec.train.table_merging import APART, LARGE_BATCH, remark, skipped_passes


@pytest.mark.parametrize(
    ("settings", "cuda", "apart"),
    [
        ({}, False, False),
        ({"batch_size": LARGE_BATCH - 1}, False, False),
        ({"batch_size": LARGE_BATCH}, False, True),
        ({"batch_size": LARGE_BATCH}, True, False),
        ({"batch_size": LARGE_BATCH, "table_optimizer": "adagrad"}, False, False),
        ({"batch_size": LARGE_BATCH, "merge_tables": True}, False, False),
        ({"batch_size": LARGE_BATCH, "optimize": False}, False, False),
        ({"merge_tables": False}, True, True),
        ({"merge_tables": False, "optimize": False}, True, False),
    ],
)
def test_tables_are_apart(
    settings: dict[str, Any], cuda: bool, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    given = Settings(**settings)
    assert skipped_passes(given) == (APART if apart else ())
    assert (remark(given) is not None) == (apart and given.merge_tables is None)
