"""Diagnostics: a report as text for people and for machines.

Each format has a file in this folder.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

from homespec.diagnostics.diagnostic import Report

FORMATS = ("full", "concise", "json", "github", "gitlab", "sarif")


def render(report: Report, format: str = "full", color: bool = False) -> str:  # noqa: A002
    """The report in one of `FORMATS`, ending with a line break unless it is empty."""
    module = importlib.import_module(f"{__name__}.{format}")
    renderer: Callable[[Report, bool], str] = module.render
    return renderer(report, color)


def automatic() -> str:
    """The format for the environment: annotations in GitHub Actions, else full text."""
    return "github" if os.environ.get("GITHUB_ACTIONS") == "true" else "full"
