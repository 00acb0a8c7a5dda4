"""A real headless Chromium for tests, driven by its own protocol over two pipes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
LOGS = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")

CONTRASTS = """
(() => {
  const parse = color => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const light = ([r, g, b]) => [r, g, b].map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    const shape = element.matches('svg .number') && element.previousElementSibling;
    if (shape) return parse(getComputedStyle(shape).fill);
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color[3] === 1) return color;
    }
    return [255, 255, 255, 1];
  };
  const found = {};
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || element.matches('title, style')) continue;
    const style = getComputedStyle(element);
    const ink = light(parse(element.closest('svg') ? style.fill : style.color));
    const paper = light(behind(element));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const name = element.closest('svg') ? 'svg ' + element.getAttribute('class')
      : element.tagName + ' ' + element.className;
    found[name] = Math.min(found[name] ?? 21, ratio);
  }
  return found;
})()
"""
"""The least contrast (WCAG 2.1) of the words of each kind of element."""

KEYS = {
    "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37,
    "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "a": 65, "F8": 119,
}  # fmt: skip
CONTROL = 2


class Browser:
    """One tab. Messages are JSON that ends in a zero byte, as the protocol has it on pipes."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._rest, self._count = read, write, b"", 0
        self._session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        found = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": found["sessionId"]}
        for domain in ("Page", "Network", "Runtime", "Log"):
            self(f"{domain}.enable")
        self("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)

    def __call__(self, method: str, **given: Any) -> dict[str, Any]:
        """The answer to one call; events that come before it are kept."""
        sent = self._send(method, self._session, **given)
        while True:
            answer = self._next()
            if answer.get("id") == sent:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            if "method" in answer:
                self.events.append(answer)

    def _send(self, method: str, session: dict[str, str], **given: Any) -> int:
        self._count += 1
        message = {"id": self._count, "method": method, "params": given, **session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._count

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "Chromium has ended"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if message.get("method") == "Target.attachedToTarget" and self._session:
            self._watch_worker(message["params"]["sessionId"])
        return message

    def _watch_worker(self, session: str) -> None:
        """See what a worker asks for, from its first request on."""
        for method in ("Network.enable", "Runtime.runIfWaitingForDebugger"):
            self._send(method, {"sessionId": session})

    def open(
        self, page: Path | str, width: int = 1280, scheme: str = "light", media: str = ""
    ) -> None:
        """Load a file or an address and wait for it."""
        self.events.clear()
        self.look(width, scheme, media)
        self("Page.navigate", url=page.as_uri() if isinstance(page, Path) else page)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            event = self._next()
            self.events += [event] if "method" in event else []

    def look(self, width: int, scheme: str, media: str = "") -> None:
        """The width of the window and the colours that a user prefers."""
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self("Emulation.setEmulatedMedia", media=media, features=features)

    def requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened."""
        asked = (e for e in self.events if e["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in asked]

    def logged(self) -> list[dict[str, Any]]:
        """What the console got, and errors."""
        return [event for event in self.events if event["method"] in LOGS]

    def evaluate(self, script: str, wait: bool = False) -> Any:
        """The value of an expression in the page, or of the promise that it is."""
        found = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=wait)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> float:
        """Wait until an expression is true in the page; how long that took."""
        start = time.monotonic()
        while not self.evaluate(f"!!({script})"):
            assert time.monotonic() - start < seconds, f"never true: {script}"
            time.sleep(0.05)
        return time.monotonic() - start

    def press(self, key: str, modifiers: int = 0, times: int = 1) -> None:
        """Press a key."""
        pressed = {"key": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": modifiers}
        text = {"Enter": "\r"}.get(key, "")
        for _ in range(times):
            self("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
            self("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def type(self, text: str) -> None:
        """Write a text where the focus is."""
        self("Input.insertText", text=text)

    def cpu_seconds(self) -> float:
        """What all processes of the browser have computed so far, however busy the machine is."""
        page, self._session = self._session, {}
        processes = self("SystemInfo.getProcessInfo")["processInfo"]
        self._session = page
        return float(sum(process["cpuTime"] for process in processes))

    def screenshot(self, file: Path) -> None:
        """All of the page as PNG."""
        found = self("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, file: Path) -> None:
        """The page as it is printed on A4, with backgrounds as the page itself asks for them."""
        found = self("Page.printToPDF", preferCSSPageSize=True, paperWidth=8.27, paperHeight=11.69)
        file.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in a folder, and no way to any host but this one."""
    assert CHROMIUM
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}",
    ]  # fmt: skip
    # the protocol is on descriptors 3 and 4
    shell = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{from_write}', "bash", *command]
    process = subprocess.Popen(
        shell, pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(to_read)
    os.close(from_write)
    try:
        yield Browser(from_read, to_write)
    finally:
        process.terminate()
        process.wait(timeout=30)
        os.close(from_read)
        os.close(to_write)
