"""Stage 3, lower: Spec -> Graph: names checked, the tree grown, the family expanded by the law."""

from homespec.lower.build import build_graph
from homespec.lower.layers import expand
from homespec.lower.rules import check_names
from homespec.lower.tree import build_tree

__all__ = ["build_graph", "build_tree", "check_names", "expand"]
