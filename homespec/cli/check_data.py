"""Command line: `homespec check-data`, which checks files against a spec, without torch."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from homespec.cli.errors import exit_2_on, needing
from homespec.cli.exit_codes import FINDINGS
from homespec.cli.reporting import (
    exit_code,
    format_option,
    has_color,
    has_tables,
    print_report,
    strict_option,
)
from homespec.cli.specs import one_analysis, set_option
from homespec.diagnostics import Report

if TYPE_CHECKING:
    from homespec.compiler import Analysis
    from homespec.data.profiled import ProfiledData

PATHS = click.Path(path_type=Path)


@click.command(name="check-data")
@click.argument("spec")
@click.argument("data", nargs=-1, required=True, type=PATHS)
@click.option(
    "--valid", multiple=True, type=PATHS,
    help="File or folder of held-out rows. May be repeated.  [default: `valid` of the folder DATA]",
)  # fmt: skip
@set_option
@format_option
@strict_option
def check_data(
    spec: str,
    data: tuple[Path, ...],
    valid: tuple[Path, ...],
    overrides: tuple[str, ...],
    output_format: str,
    strict: bool,
) -> int:
    """Check the files DATA (parquet, csv, csv.gz or folders of them) against SPEC.

    A folder may hold train and valid, as files or folders. Prints a table of features and tasks,
    and everything wrong or suspicious. Reads all data once. The exit code is 1 if there are errors.
    """
    gc.enable()
    analysis = one_analysis(spec, overrides)
    if analysis is None:
        return FINDINGS
    with needing("data"):
        import homespec.data.profiler  # noqa: F401
    from homespec.cli.data_tables import tables
    from homespec.compiler import filter_ignored
    from homespec.data import DataError
    from homespec.data.data_rules import check

    with exit_2_on(DataError):
        profiled = _profiled(analysis, data, valid)
    if has_tables(output_format):
        click.echo(tables(profiled, has_color()), nl=False, color=has_color())
    diagnostics = filter_ignored(analysis.document, [*analysis.diagnostics, *check(profiled)])
    of_data = (d for d in diagnostics if d.rule.code.startswith("HS5"))
    report = Report.of(of_data, analysis.document.texts)
    print_report(report, output_format)
    return exit_code(report, strict)


def _profiled(analysis: Analysis, data: tuple[Path, ...], valid: tuple[Path, ...]) -> ProfiledData:
    from homespec.data.profiled import ProfiledData
    from homespec.data.profiler import profile
    from homespec.data.splits import open_splits

    train, held_out = open_splits(data, valid)
    for part in (train, held_out):
        if part is not None and part.not_read:
            click.echo(part.not_read, err=True)
    trained_on = profile(analysis.spec, train)
    measured_on = None if held_out is None else profile(analysis.spec, held_out, trained_on)
    return ProfiledData(analysis.spec, analysis.document, trained_on, measured_on)
