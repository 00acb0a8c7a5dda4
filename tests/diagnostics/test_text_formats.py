"""The formats for people: carets under the right characters, nothing that steers a terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import CASES, FILE, at, error, report

from homespec.diagnostics import Report
from homespec.diagnostics.render import automatic, render
from homespec.diagnostics.render.terminal import printable, width

HERE = Path(__file__).parent


@pytest.mark.parametrize("output_format", ["full", "concise"])
def test_golden(output_format: str, golden: Callable[[Path, str], None]) -> None:
    pages = [f"### {name}\n{render(case, output_format)}" for name, case in CASES.items()]
    golden(HERE / f"{output_format}.out", "\n".join(pages))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("output_format", ["full", "concise"])
def test_colors_change_nothing_else(name: str, output_format: str) -> None:
    colored = render(CASES[name], output_format, color=True)
    assert click.unstyle(colored) == render(CASES[name], output_format)
    assert ("\x1b[" in colored) == bool(CASES[name].diagnostics)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("output_format", ["full", "concise", "github"])
def test_nothing_steers_the_terminal(name: str, output_format: str) -> None:
    text = render(CASES[name], output_format)
    assert all(char == "\n" or char.isprintable() for char in text)


@given(st.text(), st.integers(1, 60), st.integers(0, 60))
def test_any_text_and_any_span(text: str, column: int, length: int) -> None:
    found = error(at(1, column, column + length), text, label=text, help=text)
    for output_format in ("full", "concise", "github", "gitlab", "sarif", "json"):
        assert render(Report.of([found], {FILE: text}), output_format)


@given(st.text(st.sampled_from("ab漢é\u0301\t😀\u200b"), max_size=20), st.data())
def test_caret_stands_below_its_text(line: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(start, len(line)))
    rendered = render(report(error(at(1, start + 1, end + 1)), text=line + "\n\n"))
    source, carets = rendered.split("\n")[3:5]
    before, under = carets[4:].index("^"), carets.count("^")
    assert source == f"1 | {printable(line)}".rstrip()
    assert before == width(printable(line[:start]))
    assert under == max(1, width(printable(line[start:end])))


def test_summary_counts() -> None:
    last = render(CASES["several"]).splitlines()[-1]
    assert last == "3 errors, 1 warning, 1 note in 2 files"


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("😀", 2), ("", 0), ("a\u200db", 2)],
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


def test_automatic(monkeypatch: pytest.MonkeyPatch) -> None:
    assert automatic() == "full"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert automatic() == "github"
