"""Command line: reads and checks the specs that the arguments name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from homespec.cli.reporting import print_report
from homespec.cli.spec_files import SpecFiles, find
from homespec.diagnostics import Diagnostic, Report, Severity, Skipped
from homespec.diagnostics.render.terminal import named
from homespec.source import Document, check_override, read_spec, read_stream, with_bases

if TYPE_CHECKING:
    from homespec.compiler import Analysis

STDIN = "<stdin>"
MAX_NAMED = 20
"""Maximum number of skipped files that are named; the format json names all."""


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


def documents(files: SpecFiles, overrides: tuple[str, ...] = ()) -> Iterator[Document]:
    """The documents of specs, merged with the files that they extend and with `--set` overrides."""
    for path in files.files:
        if path == "-":
            document = read_stream(sys.stdin.buffer, STDIN)
            yield with_bases(document, overrides, files.folders)
        else:
            yield read_spec(path, overrides, files.folders)


@dataclass(frozen=True, slots=True)
class Checked:
    """The diagnostics of documents, without ignored ones, and the analyses of sound specs."""

    report: Report
    analyses: dict[str, Analysis]
    read: tuple[Document, ...]


def check_documents(documents: Iterable[Document], keep: bool = True) -> Checked:
    """Check documents as they are read. With `keep`, store their analyses, which are large."""
    from homespec.compiler import Stopped, analyse, filter_ignored

    analyses: dict[str, Analysis] = {}
    diagnostics: list[Diagnostic] = []
    texts: dict[str, str] = {}
    read = []
    for document in documents:
        read.append(document)
        texts |= document.texts
        try:
            analysis = analyse(document)
        except Stopped as stopped:
            diagnostics += filter_ignored(document, stopped.diagnostics)
            continue
        diagnostics += filter_ignored(document, analysis.diagnostics)
        if keep:
            analyses[document.file] = analysis
    return Checked(Report.of(diagnostics, texts), analyses, tuple(read))


def check(paths: Iterable[str], overrides: tuple[str, ...] = (), keep: bool = True) -> Checked:
    """Check the specs of files and folders. The report names the files that were skipped."""
    files = find(paths)
    checked = check_documents(documents(files, overrides), keep)
    bases = (base.file for document in checked.read for base in document.bases)
    return replace(checked, report=replace(checked.report, skipped=files.not_checked(bases)))


def say_not_checked(skipped: Sequence[Skipped]) -> None:
    """Name skipped files on stderr, so that a check in CI never passes by omission."""
    if not skipped:
        return
    click.echo(f"{len(skipped)} not checked:", err=True)
    for one in skipped[:MAX_NAMED]:
        click.echo(f"  {named(one.file)}: {one.reason}", err=True)
    if len(skipped) > MAX_NAMED:
        click.echo(f"  and {len(skipped) - MAX_NAMED} more", err=True)


def analyses(
    paths: Iterable[str], overrides: tuple[str, ...] = (), warnings: bool = True
) -> list[Analysis] | None:
    """The specs of files and folders, or None if one has an error.

    Reports errors on stderr, and optionally warnings. Only `validate` lists notes.
    """
    checked = check(paths, overrides)
    listed = (d for d in checked.report.diagnostics if d.rule.severity is not Severity.NOTE)
    report = replace(checked.report, diagnostics=tuple(listed))
    if report.has_errors or (warnings and report.diagnostics):
        print_report(report, err=True)
    say_not_checked(report.skipped)
    return None if report.has_errors else list(checked.analyses.values())


def one_analysis(path: str, overrides: tuple[str, ...] = ()) -> Analysis | None:
    """The spec of a file or of stdin, or None if it has errors. Its warnings are not reported."""
    sound = analyses([path], overrides, warnings=False)
    if sound is None:
        return None
    if len(sound) > 1:
        raise click.UsageError(f"`{path}` holds {len(sound)} specs: name one of them.")
    return sound[0]
