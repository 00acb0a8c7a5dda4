"""Command line: `homespec doctor`, which examines a model's experts and gates."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from homespec.cli.errors import exit_2_on, needing
from homespec.cli.finite import Finite
from homespec.cli.progress import progress_bars
from homespec.cli.report_files import report_file, write_report
from homespec.cli.reporting import (
    exit_code,
    format_option,
    has_color,
    has_tables,
    print_report,
    strict_option,
)
from homespec.diagnostics import Report
from homespec.diagnostics.render.terminal import printable
from homespec.health.thresholds import NAMES, SAMPLE_ROWS, TOLERANCE, Thresholds, thresholds_from

if TYPE_CHECKING:
    from homespec.doctor.examine import Options
    from homespec.health.measures import Effect, Health
    from homespec.train.load_run import Run

PATHS = click.Path(path_type=Path)
RUN_OR_SPEC = click.Path(exists=True, path_type=Path)


def _thresholds(
    _context: click.Context, _option: click.Parameter, changes: tuple[str, ...]
) -> Thresholds:
    try:
        return thresholds_from(changes)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("run", type=RUN_OR_SPEC)
@click.option(
    "--data", required=True, multiple=True, type=PATHS,
    help="Held-out rows: files (.parquet, .csv, .csv.gz) or folders. A folder that holds `train` "
        "and `valid` means `valid`. May be repeated.",
)  # fmt: skip
@click.option(
    "--rows", type=click.IntRange(1), default=200_000, show_default=True,
    help="Use only the first rows.",
)  # fmt: skip
@click.option(
    "--sample-rows", type=click.IntRange(0), default=SAMPLE_ROWS, show_default=True,
    help="Measure knock-outs on at most this number of rows; 0 means none, and so no verdicts.",
)  # fmt: skip
@click.option(
    "--tolerance", type=Finite(0), default=TOLERANCE, show_default=True,
    help="Outputs of experts below this value count as near 0.",
)  # fmt: skip
@click.option(
    "--threshold", "thresholds", multiple=True, metavar="NAME=VALUE", callback=_thresholds,
    help=f"Threshold from which a number is reported: {', '.join(NAMES)}. May be repeated.",
)  # fmt: skip
@click.option(
    "--against", type=RUN_OR_SPEC, help="Another run, or a spec, measured on the same rows."
)
@click.option(
    "--spec", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The spec of RUN, if its folder does not hold one, or to place findings at the lines of "
        "this file.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True,
    help="If RUN is a spec: the seed of `homespec train` for its initial weights.",
)  # fmt: skip
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), callback=report_file,
    help="Write all numbers to this file.",
)  # fmt: skip
@click.option(
    "--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), callback=report_file,
    help="Write a report to this file, which you can open in a browser.",
)  # fmt: skip
@format_option
@strict_option
def doctor(
    run: Path,
    data: tuple[Path, ...],
    rows: int,
    sample_rows: int,
    tolerance: float,
    thresholds: Thresholds,
    against: Path | None,
    spec: Path | None,
    seed: int,
    json_file: Path | None,
    html_file: Path | None,
    output_format: str,
    strict: bool,
) -> int:
    """Examine the model of RUN, the folder of a run of `homespec train`.

    Measures on held-out rows what its experts and gates do, and how much worse each task gets
    without them. Prints tables, and findings at the lines of the spec: experts that collapsed,
    serve only one task, or are ignored by a task, and gates that do not depend on their input.
    Under --strict, the exit code is 1 if there are warnings.

    If RUN is a spec, examines its model before the first step of training.
    """
    if spec is not None and run.is_file():
        raise click.UsageError(f"--spec names the spec of a run, but `{run}` is a spec itself.")
    if seed and not any(each.is_file() for each in (run, against) if each):
        raise click.UsageError("--seed is for a spec before its first step, but RUN is trained.")
    gc.enable()
    with needing("train"):
        from homespec.data import DataError
        from homespec.doctor.examine import Options
        from homespec.memory import OutOfMemoryError
        from homespec.train import RunError

    options = Options(sample_rows, tolerance, thresholds)
    with exit_2_on(DataError, RunError, OutOfMemoryError):
        start = Start(data, rows, seed)
        loaded = [_load(run, spec, start)]
        loaded += [] if against is None else [_load(against, None, start)]
        examined, changes = _examine(loaded, data, rows, options)
    reports = [_report(run, health) for run, health in zip(loaded, examined, strict=True)]
    report = reports[0]
    if has_tables(output_format):
        _print_tables(examined, changes)
    if json_file is not None:
        write_report(json_file, as_text(examined, report, changes))
    if html_file is not None:
        write_report(html_file, _page(loaded, examined, reports, changes))
    print_report(report, output_format)
    if examined[0].rows < thresholds.positives:
        click.echo(_few_rows(examined[0].rows, thresholds.positives), err=True)
    elif not report.diagnostics:
        click.echo(f"{printable(str(run))}: nothing found", err=True)
    return exit_code(report, strict)


class Start(NamedTuple):
    """The requirements of a spec's model before its first step."""

    data: tuple[Path, ...]
    rows: int
    seed: int


def _load(path: Path, spec: Path | None, start: Start) -> Run:
    """The model of a run, or that of a spec before its first step."""
    import homespec

    if path.is_dir():
        return homespec.load_run(path, spec=spec, optimize=False)
    from homespec.doctor.held_out import HeldOut
    from homespec.doctor.start import untrained

    parsed = homespec.load(path)
    held_out = HeldOut.open(parsed, start.data, start.rows)
    return untrained(path, parsed, start.data, held_out, start.seed)


def _examine(
    runs: list[Run], data: tuple[Path, ...], rows: int, options: Options
) -> tuple[list[Health], list[Effect]]:
    """The health of each run and, for two, the losses of the first minus those of the second."""
    from homespec import memory
    from homespec.doctor.examine import examine
    from homespec.doctor.held_out import HeldOut
    from homespec.doctor.paired import KeptLosses, loss_changes

    kept = [KeptLosses(run.spec.analysis.graph) if len(runs) > 1 else None for run in runs]
    examined = []
    with progress_bars() as begin:
        for run, losses in zip(runs, kept, strict=True):
            held_out = HeldOut.open(run.spec, data, rows)
            with memory.explained(run.spec.analysis, "examining"):
                examined.append(examine(run, held_out, _of(run, options), begin, losses))
    return examined, list(loss_changes(*filter(None, kept))) if len(runs) > 1 else []


def _of(run: Run, options: Options) -> Options:
    """The options for a run. A spec in place of a folder is examined before its first step."""
    return replace(options, at_start=run.folder.is_file())


def _few_rows(rows: int, least: float) -> str:
    """The reason why almost nothing is found."""
    from homespec.health.measures import held_out

    return (
        f"{held_out(rows)} {'is' if rows == 1 else 'are'} too few to judge a model:"
        f" {least:g} are needed (--threshold positives)"
    )


def _page(
    runs: list[Run], examined: list[Health], reports: list[Report], changes: list[Effect]
) -> str:
    from homespec.doctor.report.page import Diagnosed, page

    both = [
        Diagnosed(run.spec.analysis, health, report)
        for run, health, report in zip(runs, examined, reports, strict=True)
    ]
    return page(both[0], both[1] if len(both) > 1 else None, changes)


def _report(run: Run, health: Health) -> Report:
    from homespec.compiler import filter_ignored
    from homespec.health.check import check

    analysis = run.spec.analysis
    kept = filter_ignored(analysis.document, check(analysis, health))
    of_health = (found for found in kept if found.rule.code.startswith("HS7"))
    return Report.of(of_health, analysis.document.texts)


def _print_tables(examined: list[Health], changes: list[Effect]) -> None:
    from homespec.cli.doctor_tables import comparison, tables

    color = has_color()
    two = len(examined) > 1
    text = comparison(examined, changes, color) if two else tables(examined[0], color)
    click.echo(text, nl=False, color=color)


def as_text(examined: Iterable[Health], report: Report, changes: Iterable[Effect] = ()) -> str:
    """The contents of `--json`."""
    from homespec.health.as_json import as_json

    return json.dumps(as_json(examined, report.diagnostics, changes), indent=2) + "\n"
