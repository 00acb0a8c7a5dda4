"""Command line: the sound specs that a verb works on; what is wrong with them goes to stderr."""

from __future__ import annotations

from collections.abc import Iterable

import click

from homespec.cli.reporting import print_report
from homespec.cli.spec_files import find
from homespec.cli.specs import documents, not_checked, say_not_checked
from homespec.compiler import Analysis, Stopped, analyse, filter_ignored
from homespec.diagnostics import Report, Severity


def analyses(
    paths: Iterable[str], overrides: tuple[str, ...] = (), warnings: bool = True
) -> list[Analysis] | None:
    """All specs of `paths`, or None if one has an error.

    Reports errors, by choice warnings too. Notes are for `validate` to list.
    """
    sound, found = [], []
    texts: dict[str, str] = {}
    specs = find(paths)
    read = []
    for document in documents(specs, overrides):
        read.append(document)
        texts |= document.texts
        try:
            analysis = analyse(document)
        except Stopped as stopped:
            found += filter_ignored(document, stopped.diagnostics)
        else:
            sound.append(analysis)
            found += filter_ignored(document, analysis.diagnostics)
    report = Report.of((d for d in found if d.rule.severity is not Severity.NOTE), texts)
    if report.has_errors or (warnings and report.diagnostics):
        print_report(report, err=True)
    say_not_checked(not_checked(specs, read))
    return None if report.has_errors else sound


def one_analysis(path: str, overrides: tuple[str, ...] = ()) -> Analysis | None:
    """The spec of a file or of stdin, or None if it has errors. Its warnings are not reported."""
    sound = analyses([path], overrides, warnings=False)
    if sound is None:
        return None
    if len(sound) > 1:
        raise click.UsageError(f"`{path}` holds {len(sound)} specs: name one of them.")
    return sound[0]
