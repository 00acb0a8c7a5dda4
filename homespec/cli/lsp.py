"""Command line: `homespec lsp`, the language server that editors start."""

from __future__ import annotations

import sys

import click

from homespec.cli.errors import needing
from homespec.cli.exit_codes import OK


@click.command()
def lsp() -> int:
    """Serve an editor over stdin and stdout by the Language Server Protocol.

    Editors start it themselves; docs/editors.md says how to set them up.
    """
    with needing("lsp"):
        from homespec.editor.server import run
    if sys.stdin.isatty():
        click.echo(
            "Waiting for an editor: docs/editors.md says how to set one up. Ctrl-C leaves.",
            err=True,
        )
    run()
    return OK
