"""Sharding: gets and sets the weights of a sharded model by logical name.

Names and shapes are those of the single-process model, so a checkpoint works for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor.api import ShardedTensor
from torchrec.distributed.model_parallel import get_unwrapped_module

from homespec.sharding.parallel import device_of_rank
from homespec.sharding.partition import unescaped
from homespec.sharding.shardable import ShardableModel

CHUNK = 1 << 24
"""Numbers sent at a time."""

LOGICAL_TABLE = "features.{}.weight"


def logical_state(model: nn.Module) -> dict[str, Tensor]:
    """All weights and running statistics by logical name, on rank 0's CPU. Collective.

    The other ranks get an empty dict. Running statistics are averaged first.
    """
    average_statistics(model)
    bare = _bare(model)
    first = _rank() == 0
    state = {}
    for name, table in _tables(bare).items():
        whole = _gathered(table) if isinstance(table, ShardedTensor) else table
        if first:
            assert whole is not None
            state[name] = whole.detach().cpu().clone()
    if first:
        state |= {name: value.cpu().clone() for name, value in bare.dense.logical_state().items()}
    return state


def load_logical_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy weights and statistics by logical name into the model; each rank copies its part.

    Every rank passes the same complete state. Raises KeyError, which names missing or unknown
    entries, and ValueError for a wrong shape; the model is then unchanged.
    """
    bare = _bare(model)
    views = bare.dense.logical_state()
    shapes: dict[str, tuple[int, ...]] = {
        **{
            LOGICAL_TABLE.format(name): (table.rows, table.width)
            for name, table in bare.tables.items()
        },
        **{name: tuple(view.shape) for name, view in views.items()},
    }
    if shapes.keys() != state.keys():
        raise KeyError(
            f"missing {sorted(shapes.keys() - state.keys())},"
            f" unknown {sorted(state.keys() - shapes.keys())}"
        )
    for name, shape in shapes.items():
        if shape != tuple(state[name].shape):
            raise ValueError(f"{name} is {shape}, not {tuple(state[name].shape)}")
    for name, view in views.items():
        view.copy_(state[name])
    bare.dense.freeze()
    for collection, names in _collections(bare):
        whole = {key: state[LOGICAL_TABLE.format(name)] for key, name in names.items()}
        collection.load_state_dict(whole)  # takes each rank's part of the table


def average_statistics(model: nn.Module) -> None:
    """Set the running statistics of all ranks to their mean. Collective.

    Each rank normalises by its own rows, as under DDP, and so has its own statistics. If batches
    have the same size, the mean of the means is that of all rows; the variance lacks the part
    between ranks, which is 1/B of it.
    """
    if not dist.is_initialized():
        return
    for buffer in _bare(model).dense.statistics():
        dist.all_reduce(buffer)
        buffer /= dist.get_world_size()


def _bare(model: nn.Module) -> ShardableModel:
    bare = get_unwrapped_module(model)
    assert isinstance(bare, ShardableModel), type(bare)
    return bare


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _collections(bare: ShardableModel) -> Iterator[tuple[nn.Module, dict[str, str]]]:
    """TorchRec's collections, each with the names of its tables by the keys of its state."""
    for collection in (bare.pooled, *bare.unpooled.values()):
        if collection is not None:
            yield collection, {key: _table_of(key) for key in collection.state_dict()}


def _table_of(key: str) -> str:
    """`embeddings.history/seen.weight`, the name in a collection -> `history.seen`."""
    return unescaped(key.split(".")[1])


def _tables(bare: ShardableModel) -> dict[str, Tensor]:
    """The tables by logical name; tables that are split are ShardedTensors."""
    tables: dict[str, Tensor] = {}
    for collection, names in _collections(bare):
        state = collection.state_dict()
        tables |= {names[key]: tensor for key, tensor in state.items()}
    return {LOGICAL_TABLE.format(name): tables[name] for name in bare.tables}


def _gathered(table: ShardedTensor) -> Tensor | None:
    """The whole table on rank 0's CPU, None elsewhere. It need not fit on a device."""
    rank, device = dist.get_rank(), device_of_rank()
    dtype = table.metadata().tensor_properties.dtype
    own = {tuple(s.metadata.shard_offsets): s.tensor.detach() for s in table.local_shards()}
    whole = torch.empty(table.metadata().size, dtype=dtype) if rank == 0 else None
    for owner, (top, left), (start, stop), columns in _pieces(table):
        if rank == owner:
            piece = own[top, left][start:stop].contiguous()
            if owner != 0:
                dist.send(piece, dst=0)
        elif rank == 0:
            piece = torch.empty(stop - start, columns, dtype=dtype, device=device)
            dist.recv(piece, src=owner)
        if whole is not None:
            whole[top + start : top + stop, left : left + columns] = piece
    return whole


Pair = tuple[int, int]


def _pieces(table: ShardedTensor) -> Iterator[tuple[int, Pair, Pair, int]]:
    """Each part of a table, a few rows at a time: owner, offsets, rows of the part, columns."""
    for part in table.metadata().shards_metadata:
        owner = part.placement.rank() if part.placement else None
        assert owner is not None
        (top, left), (rows, columns) = part.shard_offsets, part.shard_sizes
        step = max(1, CHUNK // max(1, columns))
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            yield owner, (top, left), (start, stop), columns
