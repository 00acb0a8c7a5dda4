"""Export: suppresses remarks of torch during export that users can do nothing about."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

EXPORTERS = "torch.onnx"
"""The logger that mentions every optional package that is not installed."""


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress deprecation warnings about torch's own code, and remarks on optional packages."""
    logger = logging.getLogger(EXPORTERS)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logger.setLevel(level)
