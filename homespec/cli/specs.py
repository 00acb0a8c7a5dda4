"""Command line: reads and checks the spec files that the arguments name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

import click

from homespec.cli.spec_files import Specs
from homespec.diagnostics import Diagnostic, Report, Skipped
from homespec.diagnostics.render.terminal import named
from homespec.source import Document, check_override, read_spec, read_stream, with_bases

STDIN = "<stdin>"
MAX_NAMED = 20
"""So many of what was left out are named; the format json names all."""


def check(documents: Iterable[Document], skipped: Sequence[Skipped] = ()) -> Report:
    """The report on documents: what the stages say about them, less what they ignore."""
    from homespec.compiler import validate_document

    found: list[Diagnostic] = []
    texts: dict[str, str] = {}
    for document in documents:
        found += validate_document(document)
        texts |= document.texts
    return Report.of(found, texts, skipped)


def _checked_overrides(
    _context: click.Context, _option: click.Parameter, overrides: tuple[str, ...]
) -> tuple[str, ...]:
    try:
        return tuple(map(check_override, overrides))
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    callback=_checked_overrides,
    help="Change a value of the spec, such as gates.self=false. May be repeated.",
)


def documents(specs: Specs, overrides: tuple[str, ...] = ()) -> Iterator[Document]:
    """The documents of specs, composed of what they extend and of `--set` overrides."""
    for path in specs.files:
        if path == "-":
            document = read_stream(sys.stdin.buffer, STDIN)
            yield with_bases(document, overrides, specs.folders)
        else:
            yield read_spec(path, overrides, specs.folders)


def not_checked(specs: Specs, documents: Iterable[Document]) -> tuple[Skipped, ...]:
    """What was left out in folders, but for bases that documents are made of."""
    return specs.not_checked(base.file for document in documents for base in document.bases)


def say_not_checked(skipped: Sequence[Skipped]) -> None:
    """Name on stderr what was left out, so that no gate passes by silence."""
    if not skipped:
        return
    click.echo(f"{len(skipped)} not checked:", err=True)
    for one in skipped[:MAX_NAMED]:
        click.echo(f"  {named(one.file)}: {one.reason}", err=True)
    if len(skipped) > MAX_NAMED:
        click.echo(f"  and {len(skipped) - MAX_NAMED} more", err=True)
