"""Command line: `homespec evaluate`, the metrics of a run on rows of files."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import click

from homespec.cli.errors import needing
from homespec.cli.report_files import report_file, write_report
from homespec.cli.scoring_options import (
    DATA,
    TASKS,
    as_options,
    explaining,
    model_options,
    names,
    progress_bar,
)


@click.command(short_help="Measure the model of a run on the rows of files.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@DATA
@TASKS
@click.option(
    "--gauc-by", metavar="COLUMN",
    help="Measure GAUC by the users in this column, and treat users as independent in intervals.",
)  # fmt: skip
@click.option(
    "--by", callback=names, multiple=True, metavar="COLUMN,COLUMN,…",
    help="Also measure the rows of each value of these columns, with at most 100 values.",
)  # fmt: skip
@click.option(
    "--weighted-metrics", is_flag=True,
    help="Weight rows by the sample weights of the spec.",
)  # fmt: skip
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    callback=report_file,
    help="Write all results to this file; - prints them instead of the tables.",
)  # fmt: skip
@model_options(batch_size="that of the run")
def evaluate(
    run: Path,
    data: tuple[Path, ...],
    tasks: tuple[str, ...],
    gauc_by: str | None,
    by: tuple[str, ...],
    weighted_metrics: bool,
    json_file: Path | None,
    best: bool,
    **given: Any,
) -> None:
    """Measure the model of RUN, the folder of a run of `homespec train`, on the rows of the data.

    Prints the metrics of training with their counts and 95 % confidence intervals. A row without
    the label of one task still counts for the others.
    """
    gc.enable()
    with needing("train"):
        from homespec.scoring import report
        from homespec.scoring.evaluate import evaluate as evaluated
    with explaining(), progress_bar() as progress:
        found = evaluated(
            run, data, tasks=tasks, gauc_by=gauc_by, by=by, weighted=weighted_metrics,
            progress=progress, **as_options(best, given),
        )  # fmt: skip
    text = json.dumps(found.as_json(), indent=2) + "\n"
    if str(json_file) == "-":
        click.echo(text, nl=False)
        return
    report.show(found)
    if json_file:
        write_report(json_file, text)
