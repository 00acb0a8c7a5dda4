"""Command line: prints reports, and defines the options that all verbs with reports share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from homespec.cli.exit_codes import FINDINGS, OK
from homespec.diagnostics import Report
from homespec.diagnostics.render import FORMATS, automatic, render

Command = TypeVar("Command", bound=Callable[..., Any])

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice([*FORMATS, "auto"]),
    default="auto",
    show_default=True,
    help="Output format; auto means github in GitHub Actions and full elsewhere.",
)
strict_option = click.option(
    "--strict", is_flag=True, help="Treat warnings as failures, but never notes."
)


def print_report(report: Report, output_format: str = "auto", err: bool = False) -> None:
    """Print a report to stdout, or to stderr if stdout carries the result of the verb."""
    color = has_color(err)
    text = render(report, _chosen(output_format), color)
    click.echo(text, nl=False, err=err, color=color)


def has_tables(output_format: str) -> bool:
    """Whether tables may precede a report, which is so for formats for people."""
    return _chosen(output_format) in ("full", "concise")


def _chosen(output_format: str) -> str:
    return automatic() if output_format == "auto" else output_format


def exit_code(report: Report, strict: bool = False) -> int:
    """The exit code for a report."""
    return FINDINGS if report.fails(strict) else OK


def has_color(err: bool = False) -> bool:
    """Whether to print colours: on a terminal, unless NO_COLOR is set."""
    stream = sys.stderr if err else sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR")
