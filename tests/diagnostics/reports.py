"""Made-up reports for the tests of the renderers."""

from __future__ import annotations

from homespec.diagnostics import Diagnostic, Label, Position, Report, Rule, Severity, Span

GROUP = Rule(
    "HS901",
    "unknown-thing",
    Severity.ERROR,
    "A thing is not declared.\n\nDeclare it.\n\n```yaml\nthings: [a]\n```",
)
LONELY = Rule("HS951", "lonely-thing", Severity.WARNING, "A thing is alone.\n\nGive it company.")
USUAL = Rule("HS952", "usual-thing", Severity.NOTE, "A thing is as usual.\n\nNothing to do.")

SPEC = """\
things: [watch, wacth]
tasks:
  click: {thing: wacth}

  漢字: {thing: é́, like: x}
\ttabbed: {thing: y}
  long: [a, b]
  end: 1
"""
FILE = "specs/x.yaml"


def at(line: int, start: int, end: int, file: str = FILE, end_line: int | None = None) -> Span:
    return Span(file, Position(line, start), Position(end_line or line, end))


def report(*diagnostics: Diagnostic, text: str = SPEC, **texts: str) -> Report:
    return Report.of(diagnostics, {FILE: text, **texts})


def error(span: Span, message: str = "thing `x` is unknown", **more: object) -> Diagnostic:
    return Diagnostic(GROUP, span, message, **more)  # type: ignore[arg-type]


def warning(span: Span, message: str = "thing `x` is alone", **more: object) -> Diagnostic:
    return Diagnostic(LONELY, span, message, **more)  # type: ignore[arg-type]


def note(span: Span, message: str = "thing `x` is as usual", **more: object) -> Diagnostic:
    return Diagnostic(USUAL, span, message, **more)  # type: ignore[arg-type]


OTHER = "include/y.yaml"
CASES = {
    "one": report(error(at(3, 18, 23), label="not declared", help="did you mean `watch`?")),
    "no label, no help": report(warning(at(1, 1, 7))),
    "second label below": report(
        error(at(3, 18, 23), related=(Label(at(1, 9, 23), "things are declared here"),))
    ),
    "second label above, one line between": report(
        error(at(1, 1, 7), related=(Label(at(3, 3, 8), "used here"),))
    ),
    "far apart": report(error(at(1, 1, 7), label="a", related=(Label(at(8, 3, 6), "b"),))),
    "two labels in a line": report(
        error(at(1, 17, 22), label="here", related=(Label(at(1, 10, 15), "and here"),))
    ),
    "three labels in a line": report(
        error(
            at(1, 10, 15),
            label="here",
            related=(Label(at(1, 17, 22), "there"), Label(at(1, 1, 7), "in these")),
        )
    ),
    "label inside another": report(
        error(at(1, 10, 15), label="here", related=(Label(at(1, 9, 23), "in here"),))
    ),
    "wide and combining characters": report(
        error(at(5, 14, 16), label="after wide", related=(Label(at(5, 3, 5), "wide"),))
    ),
    "tab": report(error(at(6, 2, 8), label="after the tab")),
    "several lines": report(error(at(7, 9, 9, end_line=8), label="begins here")),
    "empty span": report(error(at(8, 9, 9), label="missing")),
    "end of file": report(error(at(9, 1, 1), label="after the last line")),
    "other file": Report.of(
        [error(at(1, 1, 7), related=(Label(at(2, 1, 2, OTHER), "declared there"),))],
        {FILE: SPEC, OTHER: "x: 1\ny: 2\n"},
    ),
    "no source": Report.of([error(at(1, 1, 1), help="check the path")], {FILE: ""}),
    "several remedies": report(error(at(8, 3, 6), help="either this\nor that")),
    "hostile": report(
        error(
            at(1, 4, 5, "a\x1b]0;x\x07.yaml"),
            "\x1b[31mred\n::error::\r\u202e",
            label="\x1b[0m",
            help="\x9b1m",
        ),
        **{"a\x1b]0;x\x07.yaml": "a: \x1b[2J\x00\u202e\ud800\x9b\u200b!"},
    ),
    "long line": report(error(at(1, 501, 505), label="here"), text="x" * 500 + "here" + "y" * 500),
    "long span": report(error(at(1, 1, 1001), label="all"), text="x" * 1000),
    "line numbers of two digits": report(
        error(at(9, 1, 2), related=(Label(at(10, 1, 2), "next"),)), text="a\n" * 10
    ),
    "carriage returns": report(error(at(2, 1, 2)), text="a\r\nb\rc"),
    "several": report(
        error(at(3, 18, 23)),
        warning(at(1, 9, 14)),
        error(at(1, 17, 22)),
        error(at(2, 1, 2, OTHER)),
        note(at(8, 3, 6)),
    ),
    "a note": report(note(at(1, 1, 7), label="as usual", help="nothing to do")),
    "nothing": Report(),
}
