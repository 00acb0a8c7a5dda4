"""Command line: mistakes of the user, reported in one line with exit code 2."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

import click

from homespec.diagnostics.render.terminal import printable
from homespec.installation import install_command


@contextmanager
def exit_2_on(*errors: type[Exception]) -> Iterator[None]:
    """Report an error of these types as one line on stderr and exit with 2."""
    try:
        yield
    except errors as error:
        click.echo(f"error: {in_lines(error)}", err=True)
        raise SystemExit(2) from None


def in_lines(error: Exception) -> str:
    """The text of an error without characters that control a terminal."""
    return "\n".join(map(printable, str(error).split("\n")))


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Name the extra of homespec that installs a missing package."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "homespec"):  # a bug in homespec
            raise
        raise click.UsageError(f"{package} is missing: {install_command(extra)}") from None


def script_needs(extra: str, *packages: str) -> None:
    """The same for a module run with `python -m`, before it imports the packages: exits with 2."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            click.echo(f"error: {package} is missing: {install_command(extra)}", err=True)
            raise SystemExit(2)
