"""What is no YAML gets a message that says what is wrong, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from outlines import complaints, marked, parse_with

from homespec.diagnostics import Report
from homespec.diagnostics.render import render

HERE = Path(__file__).parent

MISTAKES = {
    "tab": "groups:\n\twatch: [click]\n",
    "tab after value": "name: x\n\tfamily: home\n",
    "single quote not closed": "name: 'home\nfamily: home\n",
    "double quote not closed": 'name: "home\n---\n',
    "apostrophe": "description: 'it's good'\n",
    "quote closed late": "description: 'all\nname: x\nother: it's\n",
    "text after quotes": 'label: "is_click" >= 1\n',
    "unknown escape": 'description: "\\d+"\n',
    "half an escape": 'description: "\\x4"\n',
    "half a character": 'description: "\\ud83d"\n',
    "no character": 'description: "\\UFFFFFFFF"\n',
    "bracket not closed": "groups:\n  watch: [click, like\n  social: [follow]\n",
    "brace not closed": "tasks:\n  click: {label: x\n  like: {}\n",
    "bracket not closed at end": "groups: {watch: [click, like\n",
    "bracket only": "groups: [\n",
    "bracket around a key": "groups: {watch: [click: [like], follow:\n",
    "wrong bracket": "groups: {watch: [click, like}\n",
    "bracket too many": "watch: [click]]\n",
    "brace too many": "click: {}}\n",
    "missing comma": "click: {label: x weight: 2}\n",
    "comma too many": "watch: [click, , like]\n",
    "at sign": "label: @click\n",
    "percent": "rate: %5\n",
    "backtick": "label: `click`\n",
    "greater": "label: >= 3\n",
    "star": "label: * 3\n",
    "ampersand": "label: & 3\n",
    "colon in text": "description: model: home\n",
    "deeper": "name: x\n  family: home\n",
    "deeper after text": "tasks:\n  click: {}\n  like: a\n   follow: {}\n",
    "shallower": "tasks:\n    click: {}\n  like: {}\n",
    "shallower list": "watch:\n   - click\n  - like\n",
    "no colon": "name: x\ntasks\ngroups: {}\n",
    "no colon before key": "tasks:\n  click\n  like: {}\n",
    "no blank in block": "name: x\ndim:16\nwidth: 3\n",
    "no blank at first": "dim:16\nwidth: 3\n",
    "no blank before brackets": "tasks: {click:{}, like: {}}\n",
    "no blank, no value": "tasks: {click: {label:}, like: {}}\n",
    "dash after key": "watch: - click\n",
    "item in mapping": "name: x\n- click\n",
    "key in list": "- click\nname: x\n",
    "two keys in line": "--- name: x\n",
    "long key": "x" * 1030 + ": 1\n",
    "merge conflict": "a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n",
    "directive": "%FOO 1\n---\nname: x\n",
    "version": "%YAML 2.0\n---\nname: x\n",
    "tag handle": "name: !a!b x\n",
    "tag before brace": "name: !{x: 1}\n",
    "end of document": "name: x\n...\nname: y\n",
    "question mark": "a: [b]? c\n",
    "template": "name: {{ name }}\n",
}

LENIENT = {"no blank, no value", "directive"}
"""What PyYAML without libyaml takes."""


def test_messages(golden: Callable[[Path, str], None]) -> None:
    pages = []
    for name, text in MISTAKES.items():
        document = parse_with(False, text)
        report = Report.of(document.diagnostics, {"x.yaml": text})
        pages.append(f"### {name}\n{render(report)}")
    golden(HERE / "yaml_errors.out", "\n".join(pages))


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_has_place_and_remedy(name: str) -> None:
    document = parse_with(False, MISTAKES[name])
    assert document.data is None
    assert document.diagnostics
    for diagnostic in document.diagnostics:
        assert "not valid YAML" not in diagnostic.message
        assert diagnostic.help
    assert all(marked(document))


@pytest.mark.parametrize("name", [name for name in MISTAKES if name not in LENIENT])
def test_both_parsers_say_the_same(name: str) -> None:
    fast, pure = (parse_with(which, MISTAKES[name]) for which in (False, True))
    assert fast.diagnostics == pure.diagnostics


def test_all_mistakes_at_once() -> None:
    text = "a: 1\na: 2\nb: !!str x\nc: *d\n1: e\nf: {g:1}\nh: ["
    assert [name for name, *_ in complaints(parse_with(False, text))] == [
        "duplicate-key",
        "unsupported-tag",
        "unknown-alias",
        "key-not-string",
        "missing-space",
        "yaml-syntax",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a:\t1\t# tab between tokens\n",
        "a: [1,\t2]\n",
        "a: {\n\tb: 1\n}\n",
        '"a:b": http://x\n',
        "a: b:c\n",
        "'<<': 1\n<<<: 2\n",
        "a: |\n  <<<<<<<\n",
        "%YAML 1.2\n---\na: 1\n",
        "---\na: 1\n...\n",
        "? a\n: 1\n",
        "a: 'x: y # z'\n",
        "{a: 1, 'b':2}\n",
    ],
)
def test_unusual_but_fine(text: str) -> None:
    for pure in (False, True):
        assert parse_with(pure, text).diagnostics == ()
