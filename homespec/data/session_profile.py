"""Data: how rows of sessions follow each other, and which are compared. Needs numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from homespec.data.columns import Array
from homespec.data.sessions import compared, run_starts, scattered


@dataclass
class SessionProfile:
    """What the column of sessions holds in some rows."""

    column: str
    problem: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    """By task that ranks rows, those that count; and those of them that are compared."""
    compared: dict[str, int] = field(default_factory=dict)
    _runs: list[Array] = field(default_factory=list)

    def add(self, ids: Array, labels: Mapping[str, Array], counts: Mapping[str, Array]) -> None:
        """Record rows: ids int64 [N]; labels [N], and whether rows count, by task.

        Only neighbours are compared, as in a batch.
        """
        starts = run_starts(ids)
        self._runs.append(ids[starts])
        runs = np.where(ids == -1, -1, np.cumsum(starts))
        for task, own in labels.items():
            count = counts[task] & ~np.isnan(own)
            of_task = int(compared(runs, own, count).sum())
            self.rows[task] = self.rows.get(task, 0) + int(count.sum())
            self.compared[task] = self.compared.get(task, 0) + of_task

    @property
    def scattered(self) -> float:
        """The share of sessions whose rows are in several places of the files."""
        return scattered(np.concatenate(self._runs)) if self._runs else 0.0
