"""Command line: errors that are the user's to mend, told shortly, and exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def exit_2_on(*errors: type[Exception]) -> Iterator[None]:
    """Report an error of these types as one line on stderr and exit with 2."""
    try:
        yield
    except errors as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Name the extra of homespec where a package that it brings is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "homespec"):  # a mistake of ours
            raise
        raise click.UsageError(f"{package} is missing: pip install 'homespec[{extra}]'.") from None
