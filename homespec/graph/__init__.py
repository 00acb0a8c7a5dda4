"""The graph of a model: its nodes, and the typed shell over networkx that holds them."""

from homespec.graph.graph import Graph

__all__ = ["Graph"]
