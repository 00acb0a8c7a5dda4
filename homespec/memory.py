"""Out-of-memory errors that name the largest weights, wherever a model is built or run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from homespec.analysis.costs import Weight, weights_of
from homespec.lower import Lowered

FLOAT_BYTES = 4
SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "overflowed")
"""Parts of the messages with which torch reports a lack of memory as a RuntimeError."""
MAX_SHOWN = 3
MIN_SHARE = 0.1
"""Share of all weights from which further features are named besides the largest."""


class OutOfMemoryError(MemoryError):
    """Raised when memory runs out.

    The message, one line, names the largest weights and the remedy.
    """


@contextmanager
def explained(lowered: Lowered, doing: str) -> Iterator[None]:
    """Raise OutOfMemoryError if memory runs out. `doing` is the activity, such as "building"."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, OutOfMemoryError) or not _is_short(error):
            raise
        raise OutOfMemoryError(message(lowered, doing)) from None


def _is_short(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in SIGNS)


def message(lowered: Lowered, doing: str) -> str:
    """The message when memory has run out."""
    weights = [w for node in lowered.graph for w in weights_of(node)]
    weights.sort(key=_bytes, reverse=True)
    total = sum(map(_bytes, weights))
    named = [
        w for i, w in enumerate(weights[:MAX_SHOWN]) if not i or _bytes(w) >= MIN_SHARE * total
    ]
    return (
        f"memory ran out while {doing} `{lowered.spec.name}`: its weights are {total:,} bytes as"
        f" float32; {'; '.join(map(_about, named))}. Training with adam takes four times as "
        "much, for gradients and moments; --table-optimizer adagrad and smaller batches need "
        "less. Use fewer buckets or a smaller dim, or shard large tables"
    )


def _about(weight: Weight) -> str:
    start, _, rest = weight.name.partition(".")
    size = " x ".join(f"{number:,}" for number in weight.shape)
    if start == "features" and rest.endswith(".weight") and len(weight.shape) == 2:
        rows, width = weight.shape
        feature = rest.removesuffix(".weight")
        return f"feature `{feature}` has {rows:,} rows of {width:,}, {_bytes(weight):,} bytes"
    return f"`{weight.name}` has {size} numbers, {_bytes(weight):,} bytes"


def _bytes(weight: Weight) -> int:
    return FLOAT_BYTES * math.prod(weight.shape)
