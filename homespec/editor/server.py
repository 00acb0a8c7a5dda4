"""Editor: the language server: the Language Server Protocol over stdin and stdout, by pygls.

It reads what an editor sends and the files that a spec extends, nothing else; it writes no file.
"""

from __future__ import annotations

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
from homespec.editor.mentions import Mention, mention_at, mentions
from homespec.editor.open_specs import OpenSpecs
from homespec.editor.rename import rename, renamed_at
from homespec.source import Document
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


class AtPosition(Protocol):
    """Parameters of a request about a place in a file."""

    text_document: types.TextDocumentIdentifier
    position: types.Position


class SpecServer(LanguageServer):
    """A language server that knows the specs that are open in the editor."""

    def __init__(self) -> None:
        super().__init__(SOURCE, __version__, text_document_sync_kind=INCREMENTAL)
        self.specs = OpenSpecs(self.buffer)
        self.published: dict[str, set[str]] = defaultdict(set)
        """The files that each open spec has diagnostics in: they are taken back when mended."""

    def buffer(self, place: str) -> str | None:
        """The text of an open file by its path without links."""
        for document in self.workspace.text_documents.values():
            if real(document.path) == place:
                return str(document.source)
        return None

    @property
    def folder(self) -> str | None:
        """The folder that is open in the editor."""
        path = self.workspace.root_path
        return str(path) if path else None

    def publish(self, file: str) -> None:
        """Send what there is to say about a spec, in each of the files that it is made of."""
        report = self.specs.report(file)
        found: dict[str, list[Diagnostic]] = {real(file): []}
        for diagnostic in report.diagnostics:
            found.setdefault(real(diagnostic.span.file), []).append(diagnostic)
        for place in self.published[file] - found.keys():
            self._send(place, [])
        for place, diagnostics in found.items():
            self._send(place, [self.diagnostic(d) for d in diagnostics])
        self.published[file] = {place for place, diagnostics in found.items() if diagnostics}

    def _send(self, place: str, diagnostics: list[types.Diagnostic]) -> None:
        uri = self.uri(place)
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics))

    def diagnostic(self, diagnostic: Diagnostic) -> types.Diagnostic:
        """A diagnostic in the words of the protocol; the remedy is part of the message."""
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
        """The address of a file, as the editor spells it where it is open there."""
        place = real(file)
        for uri, document in self.workspace.text_documents.items():
            if real(document.path) == place:
                return str(uri)
        return str(uris.from_fs_path(place))

    def text(self, document: Document) -> TextDocument:
        """A document as what converts positions: columns are counted as the client does."""
        codec = self.workspace.position_codec
        return TextDocument(self.uri(document.file), document.text, position_codec=codec)

    def range(self, document: Document, start: int, end: int) -> types.Range:
        """The range of two offsets of a document's text."""
        text = self.text(document)
        return types.Range(
            text.client_position_at_offset(start), text.client_position_at_offset(end)
        )

    def location(self, span: Span) -> types.Location:
        """The place of a span."""
        document = self.specs.own(span.file)
        start, end = offsets(document.lines, span)
        return types.Location(self.uri(span.file), self.range(document, start, end))

    def edit(self, edits: Iterable[Edit]) -> types.WorkspaceEdit:
        """Edits of files as the editor carries them out."""
        changes: dict[str, list[types.TextEdit]] = defaultdict(list)
        for edit in edits:
            at = self.range(self.specs.own(edit.file), edit.start, edit.end)
            changes[self.uri(edit.file)].append(types.TextEdit(at, edit.text))
        return types.WorkspaceEdit(changes=dict(changes))

    def cursor(self, params: AtPosition) -> tuple[str, Document, int]:
        """The file, its own document, and the offset that a request is about."""
        opened = self.workspace.get_text_document(params.text_document.uri)
        document = self.specs.own(opened.path)
        return opened.path, document, self.text(document).offset_at_position(params.position)


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
    """Check all open specs: one may be what another extends."""
    for document in list(ls.workspace.text_documents.values()):
        ls.publish(document.path)


@server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
def closed(ls: SpecServer, params: types.DidCloseTextDocumentParams) -> None:
    """Take the diagnostics of a closed spec back."""
    file = str(uris.to_fs_path(params.text_document.uri))
    for place in ls.published.pop(file, set()) | {real(file)}:
        ls._send(place, [])
    for document in list(ls.workspace.text_documents.values()):
        ls.publish(document.path)


@server.feature(
    types.TEXT_DOCUMENT_COMPLETION,
    types.CompletionOptions(trigger_characters=[":", " ", "[", "{", ","]),
)
def completion(ls: SpecServer, params: types.CompletionParams) -> types.CompletionList:
    """Keys, words and names at the cursor."""
    file, document, offset = ls.cursor(params)
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
    """The documentation of what is at the cursor."""
    file, document, offset = ls.cursor(params)
    text = hover(document, offset, ls.specs.analysis(file))
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
    """Every mention of the name at the cursor, in all specs that are made of each other."""
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
    """Another name for a task or group, in all specs that are made of each other."""
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
    """What mends the diagnostics in a range, each proven to do so."""
    opened = ls.workspace.get_text_document(params.text_document.uri)
    actions = []
    for diagnostic in ls.specs.report(opened.path).diagnostics:
        shown = ls.diagnostic(diagnostic)
        here = real(diagnostic.span.file) == real(opened.path)
        if here and _overlap(shown.range, params.range):
            for fix in fixes(opened.path, diagnostic, ls.specs):
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
    """The mentions of a name, or only those that declare it."""
    found = []
    for spec in ls.specs.related(file, None if declared else ls.folder):
        for other in mentions(spec.own):
            is_it = other.name == mention.name and _same(mention, other)
            if is_it and (other.place.declares or not declared):
                at = ls.range(spec.own, *other.range)
                found.append(types.Location(ls.uri(spec.own.file), at))
    return found


def _same(one: Mention, other: Mention) -> bool:
    """Whether two names can be those of one thing: a feature and a task may share a name."""
    return bool(set(one.place.kinds) & set(other.place.kinds))


def run() -> None:
    """Serve one editor until it leaves."""
    server.start_io()
