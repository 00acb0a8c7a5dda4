"""Spans are exact, by either parser: the text of a scalar's span is the scalar."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from outlines import parse_with

from homespec.diagnostics import Position, Span
from homespec.source import Node, parse

TEXT = """\
homespec: 1   # version
features:
  user_id: {id: {vocab: 10}, "dim": 4}
  näme:
    - a
    - [b, 'c d']

  text: |
    two
    lines
empty:
shared: &s {x: 1}
again: *s
"""

words = st.text(st.sampled_from("abz_ :#'\"-é漢😀\\,[]{}&*!|>%@`\n"), max_size=12)
scalars = st.none() | st.booleans() | st.integers(-999, 999) | words


def mappings(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Nested data with a mapping on top."""
    inner = st.recursive(
        leaf, lambda part: st.lists(part, max_size=4) | st.dictionaries(words, part, max_size=4)
    )
    return st.dictionaries(words, inner, min_size=1, max_size=4)


styles = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([True, False, None]),
        "default_style": st.sampled_from(["", '"', "'", "|", ">"]),
        "indent": st.integers(2, 6),
        "width": st.sampled_from([20, 80, 10_000]),
        "allow_unicode": st.booleans(),
        "line_break": st.sampled_from(["\n", "\r\n", "\r"]),
        "explicit_start": st.booleans(),
    }
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """YAML of all styles; under a style that quotes everything, only text, which needs no tag."""
    style = draw(styles)
    data = draw(mappings(words if style["default_style"] else scalars))
    return yaml.dump(data, **style)


def as_written(node: Node, data: Any, text: str) -> Any:
    """The data with each scalar as the text of its span reads, all types left out."""
    if isinstance(data, dict):
        return {key: as_written(node.parts[key], value, text) for key, value in data.items()}
    if isinstance(data, list):
        return [as_written(node.parts[index], value, text) for index, value in enumerate(data)]
    written = text[node.start : node.end]
    if written.startswith(("|", ">")):
        return data
    return yaml.load(written, yaml.BaseLoader)


def span(file: str, line: int, start: int, end: int) -> Span:
    return Span(file, Position(line, start), Position(line, end))


@pytest.mark.parametrize("pure", [False, True])
@given(text=texts())
def test_span_of_scalar_is_its_text(pure: bool, text: str) -> None:
    document = parse_with(pure, text)
    if document.diagnostics:  # a word such as `a:b` that stands where a key would
        assert {d.rule.name for d in document.diagnostics} == {"missing-space"}
        return
    written = as_written(document.root, document.data, document.text)
    assert written == yaml.load(text, yaml.BaseLoader)


@given(texts())
def test_parsers_agree(text: str) -> None:
    fast, pure = parse_with(False, text), parse_with(True, text)
    assert fast.diagnostics == pure.diagnostics
    assert repr(fast.data) == repr(pure.data)
    assert fast.root == pure.root
    assert fast.comments == pure.comments


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        (("homespec",), False, (1, 11, 12)),
        (("homespec",), True, (1, 1, 9)),
        (("features", "user_id", "id", "vocab"), False, (3, 25, 27)),
        (("features", "user_id", "dim"), True, (3, 30, 35)),
        (("features", "näme", 1, 1), False, (6, 11, 16)),
        (("features", "näme", 0), True, (5, 7, 8)),
        (("features", "user_id"), False, (3, 12, 39)),
        (("empty",), False, (11, 1, 6)),
        (("again",), False, (13, 8, 10)),
        (("again", "x"), False, (12, 16, 17)),
        (("shared",), False, (12, 12, 18)),
        ((), True, (1, 1, 9)),
        (("nowhere",), True, (1, 1, 9)),
        (("features", "user_id", "Id", "id", "vocab", "missing"), False, (3, 25, 27)),
    ],
)
def test_span_at_path(path: tuple[str | int, ...], key: bool, expected: Any) -> None:
    for pure in (False, True):
        assert parse_with(pure, TEXT).span(path, key=key) == span("x.yaml", *expected)


def test_block_collections_end_with_their_last_value() -> None:
    document = parse(TEXT, "x")
    assert document.span(("features", "näme")) == Span("x", Position(5, 5), Position(6, 17))
    assert document.span(("features", "text")).end.line == 11  # where the text block ends
    assert document.span(("features",)).start == Position(3, 3)


def test_columns_count_characters() -> None:
    document = parse("a: ['漢字', '😀', 'e\u0301', z]", "x")
    assert document.span(("a", 3)) == span("x", 1, 22, 23)


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_line_breaks_and_byte_order_mark(line_break: str) -> None:
    document = parse("\ufeffa: 1\n\nb:\n  c: 2\n".replace("\n", line_break), "x")
    assert document.data == {"a": 1, "b": {"c": 2}}
    assert document.span(("b", "c")) == span("x", 4, 6, 7)
    assert document.span(("a",), key=True) == span("x", 1, 1, 2)


def test_anchor_is_no_part_of_the_value() -> None:
    document = parse("a: &long_name 12\nb: &m\n  c: 1\n", "x")
    assert document.span(("a",)) == span("x", 1, 15, 17)
    assert document.span(("b",)) == span("x", 3, 3, 7)
