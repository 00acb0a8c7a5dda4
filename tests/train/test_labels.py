"""The text of labels."""

from __future__ import annotations

import pytest

from homespec.schema.label_parser import Label, parse_label


@pytest.mark.parametrize(
    ("text", "label", "spelling"),
    [
        ("is_click", Label("is_click"), "is_click"),
        (" is_click ", Label("is_click"), "is_click"),
        ("play>=length", Label("play", ">=", "length"), "play >= length"),
        ("stay > 0", Label("stay", ">", 0.0), "stay > 0"),
        ("x<=-1.5e3", Label("x", "<=", -1500.0), "x <= -1500"),
        ("x != .1", Label("x", "!=", 0.1), "x != 0.1"),
        ("a.b == 1234567", Label("a.b", "==", 1234567.0), "a.b == 1234567"),
    ],
)
def test_parse(text: str, label: Label, spelling: str) -> None:
    assert parse_label(text) == label
    assert str(label) == spelling
    assert parse_label(spelling) == label


@pytest.mark.parametrize(
    "text",
    ["", "a b", "a > ", "a > b > c", "f(a)", "a > 'x'", "a-b"],
)
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(ValueError, match="neither a column nor a comparison"):
        parse_label(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 < a", "put the column first"),
        ("a = 1", "write `a == 1`"),
        ("a => 1", "write `a >= 1`"),
        ("a > 0 and b", "combines conditions"),
        ("a > 0 | b", "combines conditions"),
        ("is_click == true", "`true` is no column"),
        ("False", "`False` is no column"),
    ],
)
def test_slips(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_label(text)
