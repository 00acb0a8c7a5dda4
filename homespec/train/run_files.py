"""Training: the names of the files of a run that others read, and the text of the spec it keeps."""

from __future__ import annotations

from homespec.analysis.expand import expanded
from homespec.compiler import Analysis

METRICS_FILE, SETTINGS_FILE, SPEC_FILE = "metrics.json", "settings.json", "spec.yaml"


def spec_text(analysis: Analysis) -> str:
    """A spec in one file: its own text, or with what it extends and `--set` its explicit form."""
    document = analysis.document
    alone = not document.bases and not document.overrides
    return document.text if alone else expanded(analysis)
