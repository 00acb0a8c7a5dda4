"""Sharding: spreads the tables of a spec over many devices with TorchRec, and copies its trunk.

Needs the extra `torchrec`; docs/sharding.md shows a whole training script.
"""

try:
    import torchrec
except ImportError as error:
    from homespec.installation import install_command

    raise ImportError(
        f"homespec.sharding needs TorchRec ({error}): {install_command('torchrec')}, or without a"
        " GPU as docs/sharding.md says"
    ) from error
import torch

if not hasattr(torch.ops.fbgemm, "permute_2D_sparse_data"):
    raise ImportError(
        f"the kernels of TorchRec do not load beside torch {torch.__version__}: fbgemm-gpu 1.X, or"
        " fbgemm-gpu-cpu 1.X, matches torchrec 1.X and torch 2.(X+5)"
    )

from homespec.sharding.boundaries import boundaries_of
from homespec.sharding.parallel import dense_parameters, plan, shard
from homespec.sharding.partition import UnshardableError
from homespec.sharding.preprocess import Inputs, Preprocessor
from homespec.sharding.shardable import ShardableModel, build
from homespec.sharding.state import average_statistics, load_logical_state, logical_state

__all__ = [
    "Inputs",
    "Preprocessor",
    "ShardableModel",
    "UnshardableError",
    "average_statistics",
    "boundaries_of",
    "build",
    "dense_parameters",
    "load_logical_state",
    "logical_state",
    "plan",
    "shard",
    "torchrec",
]
