"""The tasks of the spec of these tests, and how scores are compared."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

TASKS = ["click", "cart", "ctcvr", "watch"]


def close(found: pa.ChunkedArray, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(
        torch.from_numpy(np.array(found)), wanted.float(), rtol=1e-4, atol=1e-5
    )
