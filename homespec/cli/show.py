"""Command line: `homespec show`, the model of a spec as tables, or its explicit form."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys

import click

from homespec.cli.exit_codes import FINDINGS, OK
from homespec.cli.reporting import has_color
from homespec.cli.specs import one_analysis, set_option
from homespec.compiler import Analysis


@click.command()
@click.argument("spec")
@set_option
@click.option("--expanded", is_flag=True, help="Print the spec with every default and its origin.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Output format of the tables.",
)
def show(spec: str, overrides: tuple[str, ...], expanded: bool, output_format: str) -> int:
    """Print the parts of the model of SPEC (a file or - for stdin) and their cost.

    FLOPs count the matrix products of one sample's forward pass, as torch counts them.
    """
    if expanded and output_format == "json":
        raise click.UsageError("--expanded prints YAML: leave out --format json.")
    analysis = one_analysis(spec, overrides)
    if analysis is None:
        return FINDINGS
    if expanded:
        from homespec.analysis.expand import expanded as expanded_text

        click.echo(expanded_text(analysis), nl=False)
    else:
        _print_summary(analysis, output_format)
    return OK


def _print_summary(analysis: Analysis, output_format: str) -> None:
    from homespec.analysis.summary import summarise

    summary = summarise(analysis)
    if output_format == "json":
        click.echo(json.dumps(dataclasses.asdict(summary), indent=2, ensure_ascii=False))
        return
    from homespec.cli.show_tables import WIDTH, tables

    color = has_color()
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    click.echo(tables(summary, color, width), nl=False, color=color)
