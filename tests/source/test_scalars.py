"""Plain scalars have the types of YAML 1.2, and quoted ones are text."""

from __future__ import annotations

import math

import pytest

from homespec.source import parse

TYPED = {
    "1": 1,
    "-17": -17,
    "+3": 3,
    "012": 12,
    "0o17": 15,
    "0xFf": 255,
    "1.5": 1.5,
    ".5": 0.5,
    "1.": 1.0,
    "1e-3": 0.001,
    "1E+3": 1000.0,
    "-.5e2": -50.0,
    ".inf": math.inf,
    "-.INF": -math.inf,
    "1e999": math.inf,
    "true": True,
    "False": False,
    "TRUE": True,
    "null": None,
    "~": None,
    "Null": None,
    "": None,
}
WORDS = """
    on off yes No y tRUE nuLL 1_000 0b11 1:30 2020-01-01 2020-01-01T00:00:00Z 0o8 0xg 1e e3 . -
    -- +-1 1.2.3 ١ inf nan .Nane << = 1,5 0x 0o -0x1
"""
TEXTS = WORDS.split()


@pytest.mark.parametrize("text", TYPED)
def test_typed(text: str) -> None:
    value = parse(f"a: {text}").data["a"]
    assert value == TYPED[text]
    assert type(value) is type(TYPED[text])


@pytest.mark.parametrize("text", TEXTS)
def test_text(text: str) -> None:
    if text != "-":
        assert parse(f"a: {text}").data["a"] == text
    assert parse(f"a: '{text}'").data["a"] == text


def test_nan() -> None:
    assert math.isnan(parse("a: .nan").data["a"])


@pytest.mark.parametrize("text", TYPED)
def test_quoted_is_text(text: str) -> None:
    assert parse(f'a: "{text}"').data["a"] == text


def test_block_scalars_are_text() -> None:
    assert parse("a: |\n  1\nb: >-\n  true\n").data == {"a": "1\n", "b": "true"}


def test_longest_number() -> None:
    assert parse("a: " + "9" * 300).data["a"] == int("9" * 300)
    (diagnostic,) = parse("a: " + "9" * 301).diagnostics
    assert diagnostic.rule.name == "too-large"
