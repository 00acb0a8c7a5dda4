"""The playground: what the page asks about a spec, answered by the compiler itself.

Runs in a Web Worker by Pyodide. Questions and answers are JSON; offsets are those of JavaScript,
in UTF-16 units.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from model_drawing import drawing
from spec_links import links

from homespec.analysis.summary import summarise
from homespec.cli.main import cli
from homespec.compiler import Analysis, generate
from homespec.diagnostics import Diagnostic
from homespec.editor.completion import complete
from homespec.editor.fixes import fixes, offsets
from homespec.editor.hover import hover
from homespec.editor.open_specs import OpenSpecs
from homespec.source.roots import real
from homespec.variant import variant

FILE, OLD = "spec.yaml", "old.yaml"
Answer = dict[str, Any]


def units(text: str, offset: int) -> int:
    """An offset in characters as one in UTF-16 units."""
    return len(text[:offset].encode("utf-16-le")) // 2


def characters(text: str, offset: int) -> int:
    """An offset in UTF-16 units as one in characters."""
    return len(text.encode("utf-16-le")[: 2 * offset].decode("utf-16-le", "ignore"))


def html(markdown: str) -> str:
    """Markdown as HTML, in which tags are text."""
    from markdown_it import MarkdownIt  # costs time that only the first hover should take

    return str(MarkdownIt("commonmark", {"html": False}).render(markdown))


def printed(*words: str) -> str:
    """What `homespec WORDS` prints."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        cli.main(list(words), standalone_mode=False)
    return out.getvalue()


class Session:
    """The spec in the editor, and the one that it is compared with."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.specs = OpenSpecs(self.texts.get)

    def write(self, file: str, text: str) -> None:
        """Keep a text where the compiler finds it, as an open file and on disk."""
        self.texts[real(file)] = text
        Path(file).write_text(text, encoding="utf-8", newline="")

    def forget(self) -> None:
        """Another spec is opened: what was known of the last one does not count."""
        self.specs.forget(FILE)

    @property
    def analysis(self) -> Analysis:
        """That of the spec, which is sound: the page asks for no view of another."""
        found = self.specs.analysis(FILE)
        assert found is not None
        return found

    # ------------------------------------------------------------ the editor

    def check(self, text: str) -> Answer:
        """Everything that `validate` says, and where."""
        self.write(FILE, text)
        report = self.specs.report(FILE)
        return {
            "sound": not report.has_errors,
            "diagnostics": [self._diagnostic(each) for each in report.diagnostics],
        }

    def _diagnostic(self, found: Diagnostic) -> Answer:
        start, end = self._place(found)
        file = found.span.file
        return {
            "from": start,
            "to": end,
            "place": f"{'' if file == FILE else file + ':'}{found.span.start.line}",
            "severity": str(found.rule.severity),
            "code": found.rule.code,
            "name": found.rule.name,
            "message": found.message,
            "label": found.label,
            "help": found.help,
        }

    def _place(self, found: Diagnostic) -> tuple[int, int]:
        """Where it is; what is in a base is shown where the spec extends it."""
        own = self.specs.own(FILE)
        if found.span.file == FILE:
            start, end = offsets(own.lines, found.span)
        elif "extends" in own.root.parts:
            start, end = own.root.parts["extends"].start, own.root.parts["extends"].end
        else:
            start = end = 0
        return units(own.text, start), units(own.text, end)

    def fixes(self, number: int) -> list[Answer]:
        """The fixes of a diagnostic of the last check, each verified to fix it."""
        found = self.specs.report(FILE).diagnostics[number]
        text = self.specs.own(FILE).text
        return [
            {
                "title": fix.title,
                "changes": [
                    {"from": units(text, e.start), "to": units(text, e.end), "insert": e.text}
                    for e in fix.edits
                ],
            }
            for fix in fixes(FILE, found, self.specs)
            if all(edit.file == FILE for edit in fix.edits)
        ]

    def complete(self, text: str, offset: int) -> Answer:
        """What may be written at the cursor."""
        sound = self.specs.analysis(FILE)
        data = sound.document.data if sound else None
        found = complete(text, characters(text, offset), data)
        return {
            "from": units(text, found.start),
            "to": units(text, found.end),
            "items": [
                {"text": each.text, "kind": each.kind, "info": each.documentation}
                for each in found.items
            ],
        }

    def hover(self, text: str, offset: int) -> str:
        """What is known of what is at the pointer, as HTML."""
        self.write(FILE, text)
        own = self.specs.own(FILE)
        found = hover(own, characters(text, offset), self.specs.analysis(FILE))
        return html(found) if found else ""

    # ------------------------------------------------------------ views of a sound spec

    def model(self) -> Answer:
        """The drawing of the model and what its parts cost."""
        summary = summarise(self.analysis)
        costs = {**summary.parts, "in all": summary.total}
        return {
            "drawing": drawing(self.analysis, summary, FILE),
            "costs": [[part, cost.parameters, cost.flops] for part, cost in costs.items()],
        }

    def show(self) -> str:
        """What `homespec show` prints."""
        return printed("show", FILE)

    def code(self, options: Answer) -> Answer:
        """The generated file, and the lines of the spec that its lines come from."""
        wanted = variant(**options)
        text = generate(self.analysis, wanted)
        return {"text": text, "links": links(text, self.analysis, wanted, FILE)}

    def explain(self) -> str:
        """What `homespec explain --spec` prints."""
        return printed("explain", "--spec", FILE)

    def diff(self, old: str) -> str:
        """What `homespec diff` prints of a change from another spec."""
        self.write(OLD, old)
        return printed("diff", OLD, FILE, "--format", "full")

    def rule(self, code: str) -> str:
        """The documentation of a rule, as HTML."""
        head, _, text = printed("explain", code).partition("\n\n")
        return html(f"**{head}**\n\n{text}")


def answerer() -> Callable[[str], str]:
    """A function that answers `{"ask": NAME, "with": [ARGUMENTS]}`, for JavaScript."""
    session = Session()

    def answer(question: str) -> str:
        asked = json.loads(question)
        return json.dumps(getattr(session, asked["ask"])(*asked["with"]))

    return answer
