"""Command line: `homespec predict`, which scores rows of files."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, get_args

import click

from homespec.cli.errors import needing
from homespec.cli.scoring_options import (
    DATA,
    TASKS,
    as_options,
    explaining,
    model_options,
    names,
    progress_bar,
)
from homespec.diagnostics.render.terminal import printable
from homespec.scoring import Output


@click.command(short_help="Score the rows of files with the model of a run.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@DATA
@click.option(
    "-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path),
    help="File to write: .parquet, .csv or .csv.gz.",
)  # fmt: skip
@click.option(
    "--keep", callback=names, multiple=True, metavar="COLUMN,COLUMN,…",
    help="Columns of the data to write before the scores.",
)  # fmt: skip
@TASKS
@click.option(
    "--output", type=click.Choice(get_args(Output)), default="probabilities", show_default=True,
    help="Unit of regressions: that of the label, or that of `scale`.",
)  # fmt: skip
@click.option("--prefix", default="", metavar="TEXT", help="Prefix of the names of score columns.")
@model_options(batch_size="1024")
def predict(
    run: Path,
    data: tuple[Path, ...],
    out: Path,
    keep: tuple[str, ...],
    tasks: tuple[str, ...],
    output: Output,
    prefix: str,
    best: bool,
    **given: Any,
) -> None:
    """Score each task and row of the data with the model of RUN, the folder of a run of `homespec
    train`.

    The data needs no labels, and rows keep their order. The file is written completely or not at
    all, and memory does not grow with the number of rows.
    """
    gc.enable()
    with needing("train"):
        from homespec.scoring.predict import predict as scored
    with explaining():
        options = as_options(best, given)
        scores = scored(run, data, tasks=tasks, keep=keep, output=output, prefix=prefix, **options)
        if not_read := scores.rows.files.not_read:
            click.echo(printable(not_read), err=True)
        with progress_bar() as progress:
            scores.write(out, progress)
    click.echo(f"wrote {printable(str(out))}", err=True)
