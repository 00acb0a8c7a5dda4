"""Training: notes before the first step on the rows that batches compare within sessions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import cast

import numpy as np

from homespec.data.sessions import compared
from homespec.runtime import GeneratedModule, SessionModule, sampled
from homespec.train.datamodule import Rows
from homespec.train.distributed import rank, world_size

BATCHES = 20
"""Number of batches of the first epoch that are examined."""
SCATTERED = 0.05
"""Share of scattered sessions from which there is a note."""


def session_notes(code: GeneratedModule, rows: Rows) -> Iterator[str]:
    """Notes if tasks rank rows within sessions; none otherwise."""
    if rows.sessions is None:
        return
    column, shares = rows.sessions.column, _shares(code, rows)
    listed = ", ".join(f"{task} {100 * share:.3g}%" for task, share in shares.items())
    yield (
        f"rows with one of the other label and the same {column} in their batch, in the first"
        f" batches: {listed}"
    )
    if rows.sessions.scattered > SCATTERED:
        yield (
            f"note: the rows of {100 * rows.sessions.scattered:.3g}% of sessions are not next to"
            f" each other in {rows.train.source}, and batches keep only neighbours together: sort "
            f"the rows by {column}"
        )
    if (longest := _longest(rows.sessions.starts)) > (size := rows.training(0).batch_size):
        yield (
            f"note: the longest of sessions has {longest:,} rows next to each other; those of more"
            f" than {size:,}, the batch, are split"
        )


def _shares(code: GeneratedModule, rows: Rows) -> dict[str, float]:
    """For each task that ranks rows, the share of its rows that can be compared with another."""
    ranking = cast(SessionModule, code)
    found = {task: [0, 0] for task in code.TASKS if task in ranking.SESSIONS}
    for batch in islice(rows.training(0, 0, rank(), world_size()), BATCHES):
        given = (batch.weights,) if sampled(code) else ()
        weights = ranking.row_weights(batch.labels, *given)
        counting = dict(zip(code.TASKS, (weights != 0).numpy(), strict=True))
        assert batch.sessions is not None
        for task, sums in found.items():
            own = compared(batch.sessions.numpy(), batch.labels[task].numpy(), counting[task])
            sums[0] += int(own.sum())
            sums[1] += int(counting[task].sum())
    return {task: part / max(1, whole) for task, (part, whole) in found.items()}


def _longest(starts: np.ndarray) -> int:
    """Number of rows of the longest run."""
    return int(np.diff(np.flatnonzero(starts), append=len(starts)).max(initial=0))
