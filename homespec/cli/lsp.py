"""Command line: `homespec lsp`, the language server that editors start."""

from __future__ import annotations

import sys

import click

from homespec.cli.errors import needing
from homespec.cli.exit_codes import OK


@click.command()
def lsp() -> int:
    """Run the language server over stdin and stdout (Language Server Protocol).

    Editors start it themselves; docs/editors.md explains how to set them up.
    """
    with needing("lsp"):
        from homespec.editor.server import run
    if sys.stdin.isatty():
        click.echo(
            "Waiting for an editor. docs/editors.md explains how to set one up. Press Ctrl-C to "
            "quit.",
            err=True,
        )
    run()
    return OK
