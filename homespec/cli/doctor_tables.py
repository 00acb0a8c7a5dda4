"""Command line: the doctor's numbers as tables."""

from __future__ import annotations

from collections.abc import Sequence

import rich.table
from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from homespec.cli.show_tables import as_text, plain_table
from homespec.health.losses import Losses
from homespec.health.measures import Effect, Health, held_out, short
from homespec.health.tables import Table, effect_text, models_compared, tasks_compared
from homespec.health.tables import tables as tables_of

WIDTH = 10_000
"""Maximum width of tables, with a column for each task: long lines are better than cut numbers."""


def tables(health: Health, color: bool) -> str:
    """The numbers of one run."""
    looked = f"knock-outs on {health.sample_rows:,}"
    looked = "before the first step" if health.at_start else looked
    head = f"{held_out(health.rows)}, {looked}"
    parts: list[RenderableType] = [Text(head), *map(_rendered, tables_of(health))]
    if health.knockouts:
        parts += [_rendered(_matrix(Losses(health))), Text(MATRIX_LEGEND)]
    return as_text(parts, color, WIDTH)


def comparison(runs: Sequence[Health], changes: Sequence[Effect], color: bool) -> str:
    """The measures of two runs side by side."""
    head = Text(held_out(runs[0].rows))
    both = _rendered(tasks_compared(runs, changes)), _rendered(models_compared(runs))
    return as_text([head, *both], color, WIDTH)


def _rendered(table: Table) -> rich.table.Table:
    made = plain_table(*map(escape, table.head))
    for row in table.rows:
        made.add_row(*map(escape, row))
    return made


MATRIX_LEGEND = (
    "Change of each task's loss, in % of it, when no gate may use the expert. In brackets: its 95 %"
    "\ninterval holds 0. ?: too few positives to judge. Empty: the expert cannot reach the task."
)


def _matrix(losses: Losses) -> Table:
    rows = []
    for expert in losses.experts:
        effects = losses.effects("without_expert", expert)
        cells = (_cell(losses, effects.get(name)) for name in losses.tasks)
        rows.append((short(expert), *cells))
    return Table(("without", *(f"{name}#" for name in losses.tasks)), tuple(rows))


def _cell(losses: Losses, effect: Effect | None) -> str:
    if effect is None:
        return ""
    return effect_text(losses.relative(effect)) if losses.judged(effect) else "?"
