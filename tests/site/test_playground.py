"""The playground in a real headless Chromium, by keyboard alone."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import time
import zlib
from base64 import urlsafe_b64decode as b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, CONTRASTS, CONTROL, Browser, chromium
from served import served

import homespec
from homespec.diagnostics import Severity

ROOT = Path(__file__).parents[2]
SPEC = (ROOT / "specs" / "quickstart.yaml").read_text("utf-8").partition("\n")[2]
SECONDS = 10
"""How long it may take until the first spec is checked."""


def _module(path: Path) -> Any:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


build = _module(ROOT / "docs" / "playground" / "build.py")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
    pytest.mark.skipif(not build.is_fetched(), reason="needs `make playground`, which needs npm"),
]


@dataclass(frozen=True)
class Loaded:
    """What happened until the first spec was checked."""

    status: str
    seconds: float
    """By the clock, or computed by all processes of the browser where a busy machine is slower."""
    requests: list[str]
    logged: list[dict[str, Any]]


class Playground:
    """The page, open in a browser."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser, self.address = browser, address
        self.loaded = self.load()

    def load(self) -> Loaded:
        """Open the page as if for the first time."""
        browser = self.browser
        browser.open("about:blank")
        start, cpu_start = time.monotonic(), browser.cpu_seconds()
        browser.open(f"{self.address}/index.html#example=specs/quickstart.yaml")
        status = self.settle()
        seconds = min(time.monotonic() - start, browser.cpu_seconds() - cpu_start)
        return Loaded(status, seconds, browser.requests(), browser.logged())

    def follow(self, fragment: str) -> None:
        """Follow a link to the page that one is on."""
        self.browser.evaluate("document.querySelector('#status').textContent = ''")
        self.browser.evaluate(f"location.hash = {json.dumps(fragment)}")
        self.settle()

    def settle(self) -> str:
        """Wait until what is there is checked; what is said of it."""
        status = "document.querySelector('#status')"
        self.browser.wait(f"/checked in|failed/.test({status}.textContent)", 120)
        return str(self.browser.evaluate(f"{status}.textContent"))

    def ask(self, name: str, *values: object) -> Any:
        """What the compiler in the page answers."""
        given = ", ".join(map(json.dumps, (name, *values)))
        return self.browser.evaluate(f"homespec.ask({given})", wait=True)

    def write(self, text: str) -> str:
        """Replace the spec as a user does."""
        self.browser.evaluate("document.querySelector('#editor .cm-content').focus()")
        self.browser.press("a", CONTROL)
        self.browser.type(text)
        return self.settle()

    def texts(self, selector: str) -> list[str]:
        """The texts of elements."""
        script = f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)"
        return list(self.browser.evaluate(script))

    def focused(self) -> str:
        """What the keyboard is in, in words."""
        active = "document.activeElement"
        return str(self.browser.evaluate(f"{active}.ariaLabel || {active}.textContent"))


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    folder = tmp_path_factory.mktemp("playground")
    build.build(folder / "site")
    with served(folder / "site") as address, chromium(folder) as browser:
        yield Playground(browser, address)


def test_it_loads_in_time_quiet_and_from_its_own_site(playground: Playground) -> None:
    loaded = playground.loaded
    assert loaded.status.startswith("No problems, checked in")
    assert loaded.seconds < SECONDS or playground.load().seconds < SECONDS  # on a busy machine
    assert loaded.logged == []
    asked = [url for url in loaded.requests if not url.startswith("data:")]
    assert {url.rpartition("/")[2] for url in asked} >= {"packages.zip", "pyodide.asm.wasm"}
    assert [url for url in asked if not url.startswith(playground.address)] == []


def test_requests_of_a_worker_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<script>new Worker('worker.js')</script>")
    (tmp_path / "worker.js").write_text("fetch('http://example.invalid/x').catch(() => 0)")
    with served(tmp_path) as address, chromium(tmp_path) as browser:
        browser.open(f"{address}/index.html")
        browser.wait("self.waited = (self.waited || 0) + 1, self.waited > 10")
        assert "http://example.invalid/x" in browser.requests()


MISTAKES = {
    "an unknown key": SPEC.replace("dim: 16", "dims: 16", 1),
    "an unknown task": SPEC.replace("[click, ", "[clack, "),
    "no YAML": SPEC.replace("buckets: 100000}", "buckets: 100000"),
    "a warning": SPEC + "experts: {norm: none, activation: relu}\n",
    "beyond the first plane": SPEC.replace("name:", "# 🎬\nnaem:"),
}


@pytest.mark.parametrize("text", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_underlined_where_validate_puts_it(
    playground: Playground, text: str, tmp_path: Path
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    found = homespec.validate(file).diagnostics
    playground.write(text)
    listed = [f"{each.rule.severity}[{each.rule.code}] {each.rule.name}" for each in found]
    assert playground.texts("#problems b") == listed
    assert playground.texts("#problems li > button") == [str(d.span.start.line) for d in found]
    lines = text.splitlines(keepends=True)
    for each in found:
        if each.span.start.line == each.span.end.line and each.span.start != each.span.end:
            kind = {Severity.ERROR: "error", Severity.WARNING: "warning"}[each.rule.severity]
            line = lines[each.span.start.line - 1]
            marked = line[each.span.start.column - 1 : each.span.end.column - 1]
            assert marked in "".join(playground.texts(f"#editor .cm-lintRange-{kind}"))


def test_the_file_appears_as_compile_writes_it(playground: Playground, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    (tmp_path / "specs" / "playground").mkdir()
    for name in ("kuairand", "families/ple"):
        text = (ROOT / "specs" / f"{name}.yaml").read_text("utf-8")
        file = tmp_path / "specs" / "playground" / "spec.yaml"
        file.write_text(text)
        assert not playground.write(text).startswith("The compiler")
        assert playground.ask("code", {})["text"] == homespec.compile(file)
    playground.browser.evaluate("document.querySelector('#tab-code').click()")
    first = homespec.compile(file).splitlines()[0]
    playground.browser.wait(
        f"document.querySelector('.code .cm-line').textContent === {json.dumps(first)}"
    )


def test_lines_are_linked_both_ways(playground: Playground) -> None:
    browser = playground.browser
    playground.write(SPEC)
    browser.evaluate("document.querySelector('#tab-code').click()")
    browser.wait("document.querySelectorAll('.code .cm-line').length > 10")
    browser.evaluate("document.querySelector('#editor .cm-content').focus()")
    browser.press("Home", CONTROL)
    browser.press("ArrowDown", times=3)
    browser.wait("/user_id.*hashed/.test(document.querySelector('.code .linked')?.textContent)")
    browser.evaluate("document.querySelector('.code .cm-content').focus()")
    browser.press("Home", CONTROL)
    number = next(
        number
        for number, line in enumerate(playground.ask("code", {})["text"].splitlines())
        if line.strip().startswith('"video_id": hashed')
    )
    browser.press("ArrowDown", times=number)
    browser.wait("/video_id/.test(document.querySelector('#editor .linked')?.textContent)")


def test_the_keyboard_suffices(playground: Playground) -> None:
    browser = playground.browser
    playground.write(SPEC.replace("dim: 16", "dims: 16", 1))
    browser.press("F8")
    browser.press("Tab")
    assert playground.focused() == "go to line 4"
    browser.press("Tab")
    assert playground.focused() == "fix"
    browser.press("Enter")
    browser.wait("document.activeElement.textContent.startsWith('Replace `dims`')")
    browser.press("Enter")
    browser.wait("document.querySelectorAll('#problems li').length === 0")
    browser.press("Tab")
    browser.press("ArrowRight")
    name = playground.focused()
    browser.press("ArrowLeft")
    assert {name, playground.focused()} <= {"Model", "PyTorch", "Show", "Explain", "Diff"}
    assert browser.evaluate("document.activeElement.ariaSelected") == "true"


def test_a_rule_is_explained(playground: Playground) -> None:
    playground.write(SPEC.replace("dim: 16", "dims: 16", 1))
    assert playground.texts("#problems .tools button")[1] == "explain HS101"
    playground.browser.evaluate("document.querySelectorAll('#problems .tools button')[1].click()")
    playground.browser.wait("document.querySelector('#problems .rule a')")
    assert "is not part of the language" in playground.texts("#problems .rule")[0]
    address = playground.browser.evaluate("document.querySelector('.rule a').getAttribute('href')")
    page, _, anchor = address.removeprefix("../").partition(".html#")
    headings = re.findall(r"^### (.+)$", (ROOT / "docs" / f"{page}.md").read_text("utf-8"), re.M)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_names_are_completed(playground: Playground) -> None:
    browser = playground.browser
    playground.write(SPEC)
    browser.press("End", CONTROL)
    browser.type("gat")
    browser.press(" ", CONTROL)
    browser.wait("document.querySelector('.cm-tooltip-autocomplete li')?.textContent === 'gates'")
    browser.press("Escape")


def test_a_link_carries_the_spec(playground: Playground) -> None:
    text = SPEC.replace("quickstart", "carried") + "# 🎬\n"
    playground.write(text)
    found = re.search(r"spec=([\w-]+)", playground.browser.evaluate("location.hash"))
    assert found
    assert zlib.decompress(b64decode(f"{found[1]}==="), -zlib.MAX_WBITS).decode() == text
    playground.follow(f"#spec={found[1]}&view=diff")
    assert "name: carried" in playground.texts("#editor .cm-line")
    assert playground.texts(".old .cm-line") == playground.texts("#editor .cm-line")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_and_words_stand_out(playground: Playground, width: int, scheme: str) -> None:
    browser = playground.browser
    browser.look(width, scheme)
    playground.write(MISTAKES["a warning"])
    for view in ("model", "code", "show", "explain", "diff"):
        browser.evaluate(f"document.querySelector('#tab-{view}').click()")
        browser.wait("document.querySelector('#view').textContent.length > 40")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, view
        assert len(browser.evaluate(CONTRASTS)) > 15
        low = {name: round(ratio, 2) for name, ratio in browser.evaluate(CONTRASTS).items()}
        assert {name: ratio for name, ratio in low.items() if ratio < 4.5} == {}, view
