"""Stage 6, passes: Graph -> Graph. Each may assume a valid graph and must leave one."""

from homespec.passes.pipeline import PASSES, Step, optimise

__all__ = ["PASSES", "Step", "optimise"]
