"""Diagnostics: a report as text for people and for machines; a format is a file of this folder."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

from homespec.diagnostics.diagnostic import Report

FORMATS = ("full", "concise", "json", "github", "gitlab", "sarif")


def render(report: Report, format: str = "full", color: bool = False) -> str:  # noqa: A002
    """The report in one of `FORMATS`, ending in a line break unless it is empty."""
    module = importlib.import_module(f"{__name__}.{format}")
    renderer: Callable[[Report, bool], str] = module.render
    return renderer(report, color)


def automatic() -> str:
    """The format that fits the surroundings: annotations in GitHub Actions, else full text."""
    return "github" if os.environ.get("GITHUB_ACTIONS") == "true" else "full"
