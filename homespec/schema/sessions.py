"""Stage 2, schema: the column of the sessions in which tasks rank their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homespec.schema.models import Spec


def session_column(spec: Spec) -> str | None:
    """The column that the tasks of a spec name in `within`; None if no task has it.

    They all name the same one (HS239).
    """
    columns = (task.within.column for task in spec.tasks.values() if task.within)
    return next(columns, None)
