"""Diagnostics: the path and the fingerprint that identify a finding for other programs."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from homespec.diagnostics.diagnostic import Diagnostic, Report


def relative(file: str) -> str:
    """A file's path from the root of the repository if CI names one, else from here."""
    root = os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR") or "."
    try:
        return Path(os.path.abspath(file)).relative_to(os.path.abspath(root)).as_posix()
    except (ValueError, FileNotFoundError):  # elsewhere, or the working directory is gone
        return Path(file).as_posix()


def fingerprints(report: Report) -> Iterator[tuple[Diagnostic, str]]:
    """Each diagnostic with a fingerprint that does not change when it moves to another line."""
    seen: Counter[tuple[str, str, str]] = Counter()
    for diagnostic in report.diagnostics:
        key = (relative(diagnostic.span.file), diagnostic.rule.code, diagnostic.message)
        text = "\0".join([*key, str(seen[key])])
        seen[key] += 1
        yield diagnostic, hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def described(diagnostic: Diagnostic) -> str:
    """Message, remedy and further places in lines, for formats that have one text for all."""
    lines = [diagnostic.message]
    for label in diagnostic.related:
        place = f"{relative(label.span.file)}:{label.span.start.line}"
        lines.append(f"{place}: {label.text}")
    if diagnostic.help:
        lines.append(f"help: {diagnostic.help}")
    return "\n".join(lines)
