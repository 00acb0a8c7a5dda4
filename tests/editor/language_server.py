"""A client of yaml-language-server: what an editor asks it, over stdin and stdout."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import Any

SERVER = Path(sys.prefix, "editor/node_modules/yaml-language-server/bin/yaml-language-server")
"""Where `make` installs it."""

PATIENCE = 600
"""Seconds to wait for an answer; it takes milliseconds on a machine that is not busy."""

SETTINGS = {"yaml": {"validate": True, "hover": True, "completion": True, "format": {}}}


class LanguageServer:
    """A running server, which reads schemas by the first line of a document."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            ["node", str(SERVER), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._answers: Queue[dict[str, Any]] = Queue()
        self._found: dict[str, Queue[list[dict[str, Any]]]] = {}
        self._last = 0
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._ask(
            "initialize",
            {
                "processId": None,
                "rootUri": folder.as_uri(),
                "capabilities": {
                    "workspace": {"configuration": True},
                    "textDocument": {"completion": {"completionItem": {"snippetSupport": True}}},
                },
            },
        )
        self._send(method="initialized", params={})

    def __enter__(self) -> LanguageServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._listener.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait()

    def errors(self, *texts: str) -> list[list[str]]:
        """What the server marks as wrong in each of these documents, all open at once."""
        waiting = [self._found[self._opened(text)] for text in texts]
        found = [queue.get(timeout=PATIENCE) for queue in waiting]
        return [[f"{d['range']['start']['line'] + 1}: {d['message']}" for d in f] for f in found]

    def _opened(self, text: str) -> str:
        """The address of a new document in the folder `specs`."""
        uri = (self.folder / "specs" / f"{len(self._found)}.yaml").as_uri()
        self._found[uri] = Queue()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send(method="textDocument/didOpen", params={"textDocument": document})
        return uri

    def completions(self, text: str) -> dict[str, str]:
        """Label -> inserted text of what is offered at the `|` in the text."""
        answer = self._at("textDocument/completion", text)
        items = answer["items"] if isinstance(answer, dict) else answer or []
        return {item["label"]: item["textEdit"]["newText"] for item in items}

    def hover(self, text: str) -> str:
        """What is shown over the `|` in the text."""
        answer = self._at("textDocument/hover", text)
        return answer["contents"]["value"] if answer else ""

    def _at(self, method: str, text: str) -> Any:
        before, after = text.split("|")
        place = {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}
        uri = self._opened(before + after)
        return self._ask(method, {"textDocument": {"uri": uri}, "position": place})

    def _ask(self, method: str, params: dict[str, Any]) -> Any:
        self._last += 1
        self._send(id=self._last, method=method, params=params)
        answer = self._answers.get(timeout=PATIENCE)
        assert answer["id"] == self._last, answer
        return answer["result"]

    def _send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _listen(self) -> None:
        """Sort what the server sends; what it asks for is its settings."""
        stream = self._process.stdout
        assert stream is not None
        while header := stream.readline():
            length = int(header.split(b":")[1])
            while stream.readline().strip():
                pass
            message = json.loads(stream.read(length))
            if message.get("method") == "textDocument/publishDiagnostics":
                found = self._found.get(message["params"]["uri"])
                if found is not None:
                    found.put(message["params"]["diagnostics"])
            elif message.get("method") == "workspace/configuration":
                wanted = [SETTINGS.get(item["section"], {}) for item in message["params"]["items"]]
                self._send(id=message["id"], result=wanted)
            elif "method" in message and "id" in message:
                self._send(id=message["id"], result=None)
            elif "id" in message:
                self._answers.put(message)
