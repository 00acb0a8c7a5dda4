"""Stage 4, lower: a sound spec, its tree and its layers become the graph of the model."""

from homespec.lower.layer_nodes import build_graph

__all__ = ["build_graph"]
