"""The data of a diagnostic: spans, labels, findings and the report that collects them.

Every output format is rendered from these objects, so text and JSON never disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homespec.diagnostics.registry import Rule


class Severity(StrEnum):
    """Severity of a diagnostic.

    Errors stop the compiler, warnings fail under `--strict`, and notes never fail.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a text: line and column, both counted from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The characters from `start` up to, not including, `end` of one file."""

    file: str
    start: Position
    end: Position


@dataclass(frozen=True, slots=True)
class Label:
    """A further place that a diagnostic points to, and the text shown there."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a rule's function: a diagnostic without its rule.

    `label` is the text beside the caret, `related` are further places, `help` is the remedy.
    `about` names the parts of a model that the finding concerns, for drawings.
    """

    span: Span
    message: str
    label: str = ""
    related: tuple[Label, ...] = ()
    help: str = ""
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A finding with the rule that made it."""

    rule: Rule
    span: Span
    message: str
    label: str = ""
    related: tuple[Label, ...] = ()
    help: str = ""
    about: tuple[str, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether it stops the compiler."""
        return self.rule.severity is Severity.ERROR

    @property
    def sort_key(self) -> tuple[Span, str]:
        """Sort key: by place, then by code. Equal diagnostics keep their order."""
        return (self.span, self.rule.code)


def _first(here: list[Diagnostic]) -> Diagnostic:
    """The first of several with the same place and code, about the parts of all of them.

    Its help says how many more there are.
    """
    first, more = here[0], len(here) - 1
    if not more:
        return first
    rest = f"{more} more of this kind {'has' if more == 1 else 'have'} the same place"
    about = tuple(dict.fromkeys(name for one in here for name in one.about))
    return replace(first, help=f"{first.help} ({rest})" if first.help else rest, about=about)


@dataclass(frozen=True, slots=True, order=True)
class Skipped:
    """A file or folder that a run left out, and why."""

    file: str
    reason: str

    def __str__(self) -> str:
        """`specs/.old: a hidden folder`."""
        return f"{self.file}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Report:
    """All diagnostics of one run, sorted, one for each span and code.

    `texts` maps files to their text.
    """

    diagnostics: tuple[Diagnostic, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()

    @staticmethod
    def of(
        diagnostics: Iterable[Diagnostic],
        texts: Mapping[str, str],
        skipped: Iterable[Skipped] = (),
    ) -> Report:
        """Sort `diagnostics`, and keep the first of each (span, code) with the number of others."""
        groups: dict[tuple[Span, str], dict[str, Diagnostic]] = {}
        for diagnostic in sorted(diagnostics, key=lambda d: d.sort_key):
            here = groups.setdefault((diagnostic.span, diagnostic.rule.code), {})
            here.setdefault(diagnostic.message, diagnostic)
        first = tuple(_first(list(here.values())) for here in groups.values())
        return Report(first, dict(texts), tuple(skipped))

    def count(self, severity: Severity) -> int:
        """Number of diagnostics with this severity."""
        return sum(d.rule.severity is severity for d in self.diagnostics)

    @property
    def has_errors(self) -> bool:
        """Whether the spec cannot be compiled."""
        return self.count(Severity.ERROR) > 0

    def fails(self, strict: bool = False) -> bool:
        """Whether a check fails: there are errors, or with `strict` warnings."""
        return self.has_errors or (strict and self.count(Severity.WARNING) > 0)

    def merged(self, other: Report) -> Report:
        """This report and `other`, merged."""
        texts = {**self.texts, **other.texts}
        skipped = (*self.skipped, *other.skipped)
        return Report.of((*self.diagnostics, *other.diagnostics), texts, skipped)
