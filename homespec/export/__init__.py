"""A run -> one folder that a server loads: model.pt2, model.onnx, and what describes them."""

from __future__ import annotations


class ExportError(Exception):
    """A run that cannot be exported; the message says why and what to do."""
