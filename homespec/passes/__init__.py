"""Stage 6, passes: Graph -> Graph. Each pass takes a valid graph and must return one."""

from homespec.passes.pipeline import PASSES, Step, optimise

__all__ = ["PASSES", "Step", "optimise"]
