"""The doctor's report: the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jinja2

from homespec.diagnostics import Report
from homespec.doctor.report import charts, heat, marks, model
from homespec.doctor.report.layout import Layout
from homespec.doctor.report.needs import LABELS
from homespec.health.losses import Losses
from homespec.health.measures import Effect, Health, held_out
from homespec.health.tables import (
    Table,
    experts_compared,
    models_compared,
    run_names,
    tables,
    tasks_compared,
)
from homespec.lower import Lowered
from homespec.version import __version__


@dataclass(frozen=True)
class Diagnosed:
    """An examined run: its spec, its numbers and the findings."""

    lowered: Lowered
    health: Health
    report: Report

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return Path(self.health.run).name


def page(run: Diagnosed, other: Diagnosed | None = None, changes: Sequence[Effect] = ()) -> str:
    """The report of one run as HTML, optionally compared with another run.

    `changes` are the losses of this run minus those of the other, by task.
    """
    health, losses, layout = run.health, Losses(run.health), Layout(run.lowered)
    found = marks.findings(run.report)
    marked = marks.marks(found)
    return _template().render(
        health=health,
        rows=held_out(health.rows),
        run=run.name,
        version=__version__,
        found=found,
        counts=", ".join(marks.counts(found)),
        width=round(model.names_width(layout) + layout.width),
        height=round(layout.height),
        tree=model.names(layout),
        flow=model.flow(layout, losses, marked),
        layers=heat.layers(losses),
        legend=[(f"need{number}", label) for number, label in enumerate(LABELS)],
        distributions=charts.distributions(health.experts),
        tables=list(tables(health)),
        against=_against(run, other, changes) if other else None,
        curves=[(t.name, charts.calibration(t), charts.losses(t)) for t in health.tasks],
    )


class Against(NamedTuple):
    """The comparison with another run."""

    name: str
    changes: str
    """A drawing."""
    tables: list[tuple[str, Table]]


def _against(run: Diagnosed, other: Diagnosed, changes: Sequence[Effect]) -> Against:
    healths, losses = (run.health, other.health), Losses(run.health)
    relative = [losses.relative(change) for change in changes if math.isfinite(change.change)]
    tables = [
        ("Tasks", tasks_compared(healths, changes)),
        ("Findings of one of them only", _findings_compared(run, other)),
        ("Models", models_compared(healths)),
        ("Experts of both", experts_compared(healths)),
    ]
    name = run_names(healths)[1]
    drawn = charts.changes(relative) if relative else ""
    return Against(name, drawn, [(title, table) for title, table in tables if table.rows])


def _findings_compared(run: Diagnosed, other: Diagnosed) -> Table:
    here, there = (dict.fromkeys(marks.by_part(each.report)) for each in (run, other))
    differ = [one for one in here | there if (one in here) != (one in there)]
    names = run_names((run.health, other.health))
    rows = ((*one, *("found" if one in each else "–" for each in (here, there))) for one in differ)
    return Table(("finding", "of", *names), tuple(rows))


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("homespec.doctor.report"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja")
