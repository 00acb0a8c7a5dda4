"""A change as text for people and for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from homespec.diagnostics import Diagnostic, Report, Severity, Span
from homespec.diagnostics.render import render as render_report
from homespec.diagnostics.render.fingerprint import relative
from homespec.diagnostics.render.json import as_dict as report_as_dict
from homespec.diagnostics.render.json import dumps
from homespec.diagnostics.render.terminal import printable
from homespec.diff.breaks import Breaks
from homespec.diff.compare import Comparison
from homespec.diff.pair import BREAKS
from homespec.diff.summary import as_dict, lines, summarise

VERSION = 1
"""Increases when a key of the JSON changes its meaning or is removed."""


@dataclass(frozen=True)
class Changes:
    """The changes of several specs; those that break something in `fail_on` are errors."""

    comparisons: tuple[Comparison, ...]
    fail_on: frozenset[Breaks] = frozenset()
    more: tuple[Diagnostic, ...] = ()
    """Changes of files: specs that are new or were removed."""

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """All changes."""
        found = [self._weighed(diagnostic) for diagnostic in self.more]
        for one in self.comparisons:
            found += [self.weighed(one, change) for change in one.changes]
        return found

    @property
    def report(self) -> Report:
        """All changes with the texts that they point to."""
        texts: dict[str, str] = {}
        for comparison in self.comparisons:
            texts |= comparison.pair.old.document.texts | comparison.pair.new.document.texts
        return Report(tuple(self.diagnostics), texts)

    @property
    def fails(self) -> bool:
        """Whether a change breaks something in `fail_on`."""
        return any(d.rule.severity is Severity.ERROR for d in self.diagnostics)

    def approval(self, comparison: Comparison) -> str:
        """The approval of breaking changes; "" if there are none."""
        if not comparison.is_approved or self.fail_on.isdisjoint(comparison.breaks()):
            return ""
        return f"version {comparison.pair.new.spec.version} approves breaking changes"

    def weighed(self, comparison: Comparison, change: Diagnostic) -> Diagnostic:
        """A change; an error if it breaks something in `fail_on` without approval."""
        return change if comparison.is_approved else self._weighed(change)

    def _weighed(self, diagnostic: Diagnostic) -> Diagnostic:
        if self.fail_on.isdisjoint(BREAKS[diagnostic.rule.code]):
            return diagnostic
        return replace(diagnostic, rule=replace(diagnostic.rule, severity=Severity.ERROR))


def render(changes: Changes, output_format: str, color: bool = False) -> str:
    """The changes in a report format, or as `markdown`."""
    if output_format == "json":
        return dumps(_as_dict(changes))
    if output_format == "markdown":
        return "\n".join(_markdown(changes)) + "\n"
    report = _with_classes(changes.report)
    if output_format == "concise":
        report = _with_places(report)
    text = render_report(report, output_format, color)
    if output_format in ("full", "concise"):
        text += "".join(f"{line}\n" for line in _summaries(changes))
    return text


def _with_classes(report: Report) -> Report:
    """The report, with the broken things in each message."""
    said = (replace(d, message=f"{d.message} ({_classes(d)})") for d in report.diagnostics)
    return replace(report, diagnostics=tuple(said))


def _with_places(report: Report) -> Report:
    """The report, with places in the old spec as text, for formats that show only the new one."""

    def placed(diagnostic: Diagnostic) -> Diagnostic:
        places = (f"; {_place(one.span)}: {one.text}" for one in diagnostic.related)
        return replace(diagnostic, message="".join((diagnostic.message, *places)))

    return replace(report, diagnostics=tuple(map(placed, report.diagnostics)))


def _place(span: Span) -> str:
    return f"{relative(span.file)}:{span.start.line}"


def _classes(diagnostic: Diagnostic) -> str:
    return ", ".join(BREAKS[diagnostic.rule.code])


def _summaries(changes: Changes) -> Iterator[str]:
    for comparison in changes.comparisons:
        if comparison.changes:
            file = comparison.pair.new.document.file
            yield f"\n{printable(file)}:"
            if approval := changes.approval(comparison):
                yield f"  {approval}"
            yield from (f"  {printable(line)}" for line in lines(summarise(comparison)))


def _as_dict(changes: Changes) -> dict[str, object]:
    found = report_as_dict(changes.report)
    for entry, diagnostic in zip(found["diagnostics"], changes.diagnostics, strict=True):
        entry["breaks"] = list(BREAKS[diagnostic.rule.code])
    return {
        "version": VERSION,
        "changes": found["diagnostics"],
        "specs": [_spec(comparison) for comparison in changes.comparisons],
    }


def _spec(comparison: Comparison) -> dict[str, object]:
    pair = comparison.pair
    return {
        "old": pair.old.document.file,
        "new": pair.new.document.file,
        "breaks": sorted(comparison.breaks(), key=list(Breaks).index),
        **as_dict(summarise(comparison)),
    }


def _markdown(changes: Changes) -> Iterator[str]:
    """A section for each spec that changes, as shown in pull requests."""
    changed = [c for c in changes.comparisons if c.changes]
    if not changed and not changes.more:
        yield "No spec changes."
    for diagnostic in changes.more:
        breaks = ", ".join(BREAKS[diagnostic.rule.code])
        yield f"* {_text(relative(diagnostic.span.file))}: {_text(diagnostic.message)} ({breaks})"
    for comparison in changed:
        yield f"### {_text(relative(comparison.pair.new.document.file))}"
        yield ""
        yield "| breaks | change | now | before |"
        yield "|---|---|---|---|"
        for diagnostic in comparison.changes:
            breaks = _classes(diagnostic)
            is_error = changes.weighed(comparison, diagnostic).rule.severity is Severity.ERROR
            bold = "**" if is_error else ""
            now = _text(_place(diagnostic.span))
            before = ", ".join(_text(_place(one.span)) for one in diagnostic.related)
            yield f"| {bold}{breaks}{bold} | {_text(diagnostic.message)} | {now} | {before} |"
        yield ""
        approval = changes.approval(comparison)
        said = [*([approval] if approval else []), *lines(summarise(comparison))]
        yield from (f"* {_text(line)}" for line in said)
        yield from (f"* {_help(d.help)}" for d in comparison.changes if d.help)
        yield ""


def _help(text: str) -> str:
    """A help on one line; text to copy becomes code."""
    first, *copied = (line.strip() for line in text.splitlines())
    code = (f"`{printable(line)}`" if "`" not in line else _text(line) for line in copied)
    return " ".join(("help:", _text(first), *code))


def _text(text: str) -> str:
    """Text of a spec in a Markdown table: escaped, except for `code`."""
    parts = printable(text).split("`")
    if len(parts) % 2 == 0:  # an unmatched backtick
        parts = ["'".join(parts)]
    plain = [
        _escaped(part) if i % 2 == 0 else part.replace("|", "\\|") for i, part in enumerate(parts)
    ]
    return "`".join(plain)


def _escaped(text: str) -> str:
    return text.translate({ord(char): f"\\{char}" for char in "\\|<>[]*_&#!@"})
