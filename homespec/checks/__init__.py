"""Checks: the rules on names and layers (HS2xx, HS3xx), on the graph (HS3xx), on design (HS4xx)."""

from homespec.checks.design_rules import check_design
from homespec.checks.graph_rules import check_structure
from homespec.checks.group_rules import check_names
from homespec.checks.layer_rules import check_layers

__all__ = ["check_design", "check_layers", "check_names", "check_structure"]
