"""Stage 3, resolve: what the names of a spec mean: the task tree, and the layers on it."""

from homespec.resolve.layers import expand
from homespec.resolve.tree import build_tree

__all__ = ["build_tree", "expand"]
