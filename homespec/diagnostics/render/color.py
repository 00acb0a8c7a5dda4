"""Diagnostics: colours by role. Without colours the text is the same."""

from __future__ import annotations

from collections.abc import Callable

Paint = Callable[[str, str], str]
"""Colours a text according to its role: a severity, place, help, strong, or "" for none."""

COLORS = {
    "error": "bright_red",
    "warning": "bright_yellow",
    "note": "bright_green",
    "place": "bright_blue",
    "help": "bright_cyan",
    "strong": None,
}


def painter(color: bool) -> Paint:
    """The painter for a stream with or without colours."""
    return _style if color else lambda text, _: text


def _style(text: str, role: str) -> str:
    import click

    return click.style(text, fg=COLORS[role], bold=True) if role and text else text
