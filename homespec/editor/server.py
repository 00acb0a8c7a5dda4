"""Editor: the language server, which speaks the Language Server Protocol over stdin and stdout.

It reads only what the editor sends and the files that a spec extends. It writes no files.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from lsprotocol import types
from pygls import uris
from pygls.lsp.server import LanguageServer
from pygls.workspace import TextDocument

from homespec.diagnostics import Diagnostic, Severity, Span
from homespec.editor.completion import ItemKind, complete
from homespec.editor.edits import CannotEditError, Edit
from homespec.editor.fixes import Fix, fixes, offsets
from homespec.editor.hover import hover
from homespec.editor.mentions import Mention, mention_at, mentions_of
from homespec.editor.open_specs import OpenSpecs
from homespec.editor.rename import rename, renamed_at
from homespec.source import Document
from homespec.source.lines import Lines
from homespec.source.roots import real
from homespec.version import __version__

SEVERITIES = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
    Severity.NOTE: types.DiagnosticSeverity.Information,
}
KINDS: dict[ItemKind, types.CompletionItemKind] = {
    "key": types.CompletionItemKind.Property,
    "word": types.CompletionItemKind.EnumMember,
    "name": types.CompletionItemKind.Reference,
    "example": types.CompletionItemKind.Value,
}
SOURCE = "homespec"
SPEC = re.compile(r"""^[{'"\ufeff]*homespec['"]? *:""", re.MULTILINE)
"""The key by which a YAML file declares that it is a spec."""


class AtPosition(Protocol):
    """Parameters of a request about a position in a file."""

    text_document: types.TextDocumentIdentifier
    position: types.Position


class SpecServer(LanguageServer):
    """A language server that knows the specs that are open in the editor."""

    def __init__(self) -> None:
        super().__init__(SOURCE, __version__, text_document_sync_kind=INCREMENTAL)
        self.specs = OpenSpecs(self.buffer)
        self.opened: dict[str, str] = {}
        """The URI of each open file, as the editor spells it, by its resolved path."""
        self.published: dict[str, list[types.Diagnostic]] = {}
        """The files for which the editor shows diagnostics, by resolved path."""

    def look(self) -> None:
        """Update the open files. Buffers without a file, such as old versions, do not count."""
        documents = self.workspace.text_documents.values()
        self.opened = {real(d.path): d.uri for d in documents if uris.to_fs_path(d.uri)}

    def buffer(self, place: str) -> str | None:
        """The text of an open file by its resolved path."""
        uri = self.opened.get(place)
        return None if uri is None else str(self.workspace.get_text_document(uri).source)

    @property
    def folder(self) -> str | None:
        """The folder that is open in the editor."""
        path = self.workspace.root_path
        return str(path) if path else None

    @property
    def files(self) -> list[str]:
        """The open files that are specs."""
        documents = map(self.workspace.get_text_document, self.opened.values())
        return [document.path for document in documents if SPEC.search(document.source)]

    def is_spec(self, file: str) -> bool:
        """Whether a file is a spec or may become one, or an open spec extends it.

        Editors send all YAML files.
        """
        text = self.workspace.get_text_document(self.uri(file)).source
        if SPEC.search(text) or ":" not in text:
            return True
        bases = (base for spec in self.files for base in self.specs.whole(spec).bases)
        return real(file) in {real(base.file) for base in bases}

    def publish(self, changed: str) -> None:
        """Send the diagnostics of a file that changed, and those that it affects in other files.

        Diagnostics of several specs about a file that they share are sent together.
        """
        found: dict[str, dict[object, Diagnostic]] = {place: {} for place in self.published}
        for file in self.files:
            for diagnostic in self.specs.report(file).diagnostics:
                same = (diagnostic.rule.code, diagnostic.span, diagnostic.message)
                found.setdefault(real(diagnostic.span.file), {}).setdefault(same, diagnostic)
        found.setdefault(changed, {})
        for place, diagnostics in found.items():
            shown = [self.diagnostic(each) for each in diagnostics.values()]
            if place == changed or shown != self.published.get(place):
                self.send(place, shown)

    def send(self, place: str, diagnostics: list[types.Diagnostic]) -> None:
        """Show these diagnostics in a file, in place of the existing ones."""
        self.published[place] = diagnostics
        if not diagnostics:
            del self.published[place]
        uri = self.uri(place)
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics))

    def diagnostic(self, diagnostic: Diagnostic) -> types.Diagnostic:
        """A diagnostic of the protocol; the remedy is part of the message."""
        parts = [
            diagnostic.message,
            diagnostic.label,
            diagnostic.help and f"help: {diagnostic.help}",
        ]
        related = [
            types.DiagnosticRelatedInformation(self.location(label.span), label.text)
            for label in diagnostic.related
        ]
        return types.Diagnostic(
            self.location(diagnostic.span).range,
            "\n".join(filter(None, parts)),
            severity=SEVERITIES[diagnostic.rule.severity],
            code=diagnostic.rule.code,
            source=f"{SOURCE} {diagnostic.rule.name}",
            related_information=related,
        )

    # -------------------------------------------------------------- places

    def uri(self, file: str) -> str:
        """The URI of a file, as the editor spells it if it is open."""
        place = real(file)
        return self.opened.get(place) or str(uris.from_fs_path(place))

    def range(self, document: Document, start: int, end: int) -> types.Range:
        """The range between two offsets of a document's text."""
        return types.Range(self.position(document.lines, start), self.position(document.lines, end))

    def position(self, lines: Lines, offset: int) -> types.Position:
        """The position of an offset; columns are counted in the client's encoding."""
        before = lines.text[lines.start_of_line(offset) : offset]
        units = self.workspace.position_codec.client_num_units(before)
        return types.Position(lines.position(offset).line - 1, units)

    def location(self, span: Span) -> types.Location:
        """The location of a span."""
        document = self.specs.own(span.file)
        start, end = offsets(document.lines, span)
        return types.Location(self.uri(span.file), self.range(document, start, end))

    def edit(self, edits: Iterable[Edit]) -> types.WorkspaceEdit:
        """A workspace edit of several files."""
        changes: dict[str, list[types.TextEdit]] = defaultdict(list)
        for edit in edits:
            at = self.range(self.specs.own(edit.file), edit.start, edit.end)
            changes[self.uri(edit.file)].append(types.TextEdit(at, edit.text))
        return types.WorkspaceEdit(changes=dict(changes))

    def cursor(self, params: AtPosition) -> tuple[str, Document, int]:
        """The file, its own document, and the offset of a request."""
        opened = self.workspace.get_text_document(params.text_document.uri)
        document = self.specs.own(opened.path)
        codec = self.workspace.position_codec
        text = TextDocument(opened.uri, document.text, position_codec=codec)
        return opened.path, document, text.offset_at_position(params.position)


INCREMENTAL = types.TextDocumentSyncKind.Incremental
server = SpecServer()


@server.feature(types.TEXT_DOCUMENT_DID_OPEN)
@server.feature(types.TEXT_DOCUMENT_DID_SAVE)
@server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
def changed(
    ls: SpecServer,
    params: types.DidOpenTextDocumentParams
    | types.DidChangeTextDocumentParams
    | types.DidSaveTextDocumentParams,
) -> None:
    """Check a spec, and all open specs that extend it."""
    ls.look()
    if path := uris.to_fs_path(params.text_document.uri):
        ls.publish(real(path))


@server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
def closed(ls: SpecServer, params: types.DidCloseTextDocumentParams) -> None:
    """Withdraw the diagnostics of a closed spec, except those of open specs that extend it."""
    ls.look()
    if path := uris.to_fs_path(params.text_document.uri):
        ls.specs.forget(path)
        ls.publish(real(path))


@server.feature(
    types.TEXT_DOCUMENT_COMPLETION,
    types.CompletionOptions(trigger_characters=[":", " ", "[", "{", ","]),
)
def completion(ls: SpecServer, params: types.CompletionParams) -> types.CompletionList:
    """Keys, words and names at the cursor."""
    file, document, offset = ls.cursor(params)
    if not ls.is_spec(file):
        return types.CompletionList(is_incomplete=False, items=[])
    sound = ls.specs.analysis(file)
    found = complete(document.text, offset, sound.document.data if sound else None)
    at = ls.range(document, found.start, found.end)
    items = [
        types.CompletionItem(
            item.text.rstrip(": "),
            kind=KINDS[item.kind],
            documentation=item.documentation or None,
            sort_text=f"{number:04}",
            text_edit=types.TextEdit(at, item.text),
        )
        for number, item in enumerate(found.items)
    ]
    return types.CompletionList(is_incomplete=False, items=items)


@server.feature(types.TEXT_DOCUMENT_HOVER)
def hovered(ls: SpecServer, params: types.HoverParams) -> types.Hover | None:
    """Documentation at the cursor."""
    file, document, offset = ls.cursor(params)
    text = ls.is_spec(file) and hover(document, offset, ls.specs.analysis(file))
    if not text:
        return None
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text))


@server.feature(types.TEXT_DOCUMENT_DEFINITION)
def definition(ls: SpecServer, params: types.DefinitionParams) -> list[types.Location]:
    """Where the name at the cursor is declared, or the file that a spec extends."""
    file, document, offset = ls.cursor(params)
    if "extends" in document.root.parts:
        node = document.root.parts["extends"]
        if node.key_start <= offset <= node.end:
            return [_beginning(ls, base.file) for base in ls.specs.whole(file).bases[:1]]
    mention = mention_at(document, offset)
    return _locations(ls, file, mention, declared=True) if mention else []


@server.feature(types.TEXT_DOCUMENT_REFERENCES)
def references(ls: SpecServer, params: types.ReferenceParams) -> list[types.Location]:
    """All mentions of the name at the cursor, in all specs that share it."""
    file, document, offset = ls.cursor(params)
    mention = mention_at(document, offset)
    return _locations(ls, file, mention, declared=False) if mention else []


@server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
def prepare_rename(ls: SpecServer, params: types.PrepareRenameParams) -> types.Range | None:
    """The name at the cursor, if it is that of a task or group."""
    _, document, offset = ls.cursor(params)
    mention = renamed_at(document, offset)
    return ls.range(document, *mention.range) if mention else None


@server.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
def renamed(ls: SpecServer, params: types.RenameParams) -> types.WorkspaceEdit | None:
    """Rename a task or group, in all specs that share it."""
    file, document, offset = ls.cursor(params)
    mention = renamed_at(document, offset)
    if mention is None:
        return None
    try:
        edits = rename(mention.name, params.new_name, ls.specs.related(file, ls.folder))
    except CannotEditError as error:
        ls.window_show_message(types.ShowMessageParams(types.MessageType.Error, str(error)))
        return None
    return ls.edit(edits)


@server.feature(
    types.TEXT_DOCUMENT_CODE_ACTION,
    types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix]),
)
def code_actions(ls: SpecServer, params: types.CodeActionParams) -> list[types.CodeAction]:
    """Fixes of the diagnostics in a range, each verified by the compiler."""
    file = ls.workspace.get_text_document(params.text_document.uri).path
    if file not in ls.files:
        return []
    actions = []
    for diagnostic in ls.specs.report(file).diagnostics:
        shown = ls.diagnostic(diagnostic)
        here = real(diagnostic.span.file) == real(file)
        if here and _overlap(shown.range, params.range):
            for fix in fixes(file, diagnostic, ls.specs):
                actions.append(_action(ls, fix, shown))
    return actions


def _action(ls: SpecServer, fix: Fix, mended: types.Diagnostic) -> types.CodeAction:
    return types.CodeAction(
        fix.title,
        kind=types.CodeActionKind.QuickFix,
        diagnostics=[mended],
        edit=ls.edit(fix.edits),
    )


def _overlap(one: types.Range, other: types.Range) -> bool:
    return one.start <= other.end and other.start <= one.end


def _beginning(ls: SpecServer, file: str) -> types.Location:
    start = types.Position(0, 0)
    return types.Location(ls.uri(file), types.Range(start, start))


def _locations(ls: SpecServer, file: str, mention: Mention, declared: bool) -> list[types.Location]:
    """The mentions of a name, or only its declarations."""
    related = ls.specs.related(file, None if declared else ls.folder)
    return [
        types.Location(ls.uri(spec.own.file), ls.range(spec.own, *other.range))
        for spec, other in mentions_of(mention.name, mention.place.kinds, related)
        if other.place.declares or not declared
    ]


def run() -> None:
    """Serve one editor until it disconnects."""
    server.start_io()
