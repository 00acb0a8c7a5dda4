"""Command line: errors that are the user's to mend, as one line and exit code 2."""

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
