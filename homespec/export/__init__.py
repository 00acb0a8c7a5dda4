"""A run -> one folder that a server loads: model.pt2, model.onnx, and what describes them."""

from __future__ import annotations

from typing import Literal

Format = Literal["pt2", "onnx", "both"]
"""A package of AOTInductor, an ONNX file, or both."""
Weights = Literal["float32", "bf16", "int8"]
"""How the rows of tables are kept."""
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
"""What the extra `export` brings for ONNX."""


class ExportError(Exception):
    """A run that cannot be exported; the message says why and what to do."""
