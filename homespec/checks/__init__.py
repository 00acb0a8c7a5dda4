"""Stage 4, checks: what is wrong with a graph (HS3xx) and what is unwise about it (HS4xx)."""

from homespec.checks.layers import check_layers
from homespec.checks.lint import check_design
from homespec.checks.structure import check_structure

__all__ = ["check_design", "check_layers", "check_structure"]
