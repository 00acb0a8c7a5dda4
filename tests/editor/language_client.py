"""A client of `homespec lsp`: pygls's own, which starts the server as an editor does."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.client import LanguageClient

TIMEOUT = 120.0


class Editor:
    """An editor with one folder; places are given by `|` in the text that a file is opened with."""

    def __init__(self, client: LanguageClient, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self.found: dict[str, list[types.Diagnostic]] = {}
        self.arrived: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.messages: list[str] = []
        self.version = 0

    def uri(self, name: str) -> str:
        return (self.folder / name).resolve().as_uri()

    async def open(self, name: str, text: str) -> None:
        item = types.TextDocumentItem(self.uri(name), "yaml", self.next_version(), text)
        self.arrived[item.uri].clear()
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        await self.diagnostics(name)

    async def change(self, name: str, text: str) -> None:
        identifier = types.VersionedTextDocumentIdentifier(self.next_version(), self.uri(name))
        whole = types.TextDocumentContentChangeWholeDocument(text)
        self.arrived[identifier.uri].clear()
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(identifier, [whole]))
        await self.diagnostics(name)

    def close(self, name: str) -> None:
        identifier = types.TextDocumentIdentifier(self.uri(name))
        self.arrived[identifier.uri].clear()
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(identifier))

    def next_version(self) -> int:
        self.version += 1
        return self.version

    async def diagnostics(self, name: str) -> list[types.Diagnostic]:
        """Those that the server has sent, once it has sent some since the last change."""
        uri = self.uri(name)
        await asyncio.wait_for(self.arrived[uri].wait(), TIMEOUT)
        return self.found[uri]

    def at(self, name: str, line: int, column: int) -> dict[str, Any]:
        identifier = types.TextDocumentIdentifier(self.uri(name))
        return {"text_document": identifier, "position": types.Position(line, column)}


def in_editor(folder: Path, scene: Callable[[Editor], Coroutine[Any, Any, None]]) -> None:
    """Play a scene in an editor that has started the server in a folder."""

    async def play() -> None:
        client = LanguageClient("test", "1")
        editor = Editor(client, folder)

        @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def published(params: types.PublishDiagnosticsParams) -> None:
            editor.found[params.uri] = list(params.diagnostics)
            editor.arrived[params.uri].set()

        @client.feature(types.WINDOW_SHOW_MESSAGE)
        def shown(params: types.ShowMessageParams) -> None:
            editor.messages.append(params.message)

        await client.start_io(sys.executable, "-m", "homespec", "lsp")
        initialised = await asyncio.wait_for(
            client.initialize_async(
                types.InitializeParams(
                    capabilities=types.ClientCapabilities(), root_uri=folder.resolve().as_uri()
                )
            ),
            TIMEOUT,
        )
        assert initialised.capabilities.rename_provider
        client.initialized(types.InitializedParams())
        try:
            await asyncio.wait_for(scene(editor), TIMEOUT)
        finally:
            await client.shutdown_async(None)
            client.exit(None)
            await client.stop()

    asyncio.run(play())
