"""Export: a run becomes a folder for servers, with model.pt2, model.onnx and their descriptions."""

from __future__ import annotations

from typing import Literal

Format = Literal["pt2", "onnx", "both"]
"""An AOTInductor package, an ONNX file, or both."""
Weights = Literal["float32", "bf16", "int8"]
"""How the rows of tables are stored."""
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
"""The packages of the extra `export` for ONNX."""


class ExportError(Exception):
    """Raised for a run that cannot be exported. The message gives the reason and the remedy."""
