"""Command line: `homespec validate`, which checks specs without importing torch."""

from __future__ import annotations

import click

from homespec.cli.reporting import exit_code, format_option, print_report, strict_option
from homespec.cli.specs import check, say_not_checked, set_option


@click.command()
@click.argument("paths", nargs=-1, required=True)
@set_option
@format_option
@strict_option
@click.option("-q", "--quiet", is_flag=True, help="Do not print the number of clean files.")
def validate(
    paths: tuple[str, ...],
    overrides: tuple[str, ...],
    output_format: str,
    strict: bool,
    quiet: bool,
) -> int:
    """Check the specs in PATHS: files, folders (all *.yaml and *.yml below) or - for stdin.

    Files that begin with `_` are bases, which are checked as parts of the specs that extend them.
    Skipped paths, such as hidden folders, are reported. The exit code is 0 without errors and 1
    with errors.
    """
    checked = check(paths, overrides, keep=False)
    report, files = checked.report, len(checked.read)
    print_report(report, output_format)
    if not report.diagnostics and not quiet:
        click.echo(f"{files} {'file' if files == 1 else 'files'} checked, nothing found", err=True)
    say_not_checked(report.skipped)
    return exit_code(report, strict)
