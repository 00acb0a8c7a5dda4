"""Sharding: assigns tables to devices, and spreads the model over them."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.optim.apply_optimizer_in_backward import (
    _apply_optimizer_in_backward as apply_in_backward,
)
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints, Topology
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import KernelConfig, TopologyFactory, TrainerConfig
from torchrec.distributed.types import ModuleSharder, ShardingPlan, ShardingType
from torchrec.optim import RowWiseAdagrad
from torchrec.optim.optimizers import in_backward_optimizer_filter

from homespec.sharding.partition import EmbeddingTable, unescaped
from homespec.sharding.shardable import ShardableModel

TABLE_LR = 0.05
"""Learning rate of the tables' row-wise Adagrad; docs/sharding.md explains the choice."""

TABLE_EPS = 1e-8
"""Epsilon in its denominator, the default of the fused kernel."""

RESERVED = 0.15
"""Share of a device's memory that the planner reserves for everything except tables:

TorchRec's default.
"""


def device_of_rank() -> torch.device:
    """This process's GPU, by LOCAL_RANK, which torchrun sets; the CPU under gloo."""
    if dist.get_backend() == "gloo":
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def plan(
    model: ShardableModel, constraints: Mapping[str, ParameterConstraints] | None = None
) -> ShardingPlan:
    """A plan of TorchRec's planner that assigns parts of tables to devices. Collective.

    `constraints` are TorchRec's, by feature, or by `sequence.field` for a sequence's own fields.
    Tables without a constraint may be split in every way that the device supports, with two
    exceptions: they are never copied to all devices, because the backward pass does not update
    copies, and tables that events read are never split by columns. Raises KeyError for a feature
    without a table of its own.
    """
    device = device_of_rank()
    asked = dict(constraints or {})
    unknown = sorted(asked.keys() - model.tables.keys())
    if unknown:
        known = ", ".join(model.tables)
        raise KeyError(f"no table of {', '.join(unknown)}; the tables are {known}")
    planner = EmbeddingShardingPlanner(
        topology=_topology(device),
        storage_reservation=FixedPercentageStorageReservation(RESERVED),
        constraints={
            table.escaped: asked.get(name) or _constraint(table, device)
            for name, table in model.tables.items()
        },
    )
    return planner.collective_plan(model, sharders(), dist.group.WORLD)


def sharders() -> list[ModuleSharder[nn.Module]]:
    """The sharders of the collections that hold the tables."""
    return [EmbeddingBagCollectionSharder(), EmbeddingCollectionSharder()]


def _constraint(table: EmbeddingTable, device: torch.device) -> ParameterConstraints:
    """The planner's options for a table without a constraint.

    They include the number of rows that an example needs: for a table that events read, at most.
    """
    allowed, per_key = splits(device), [1.0] * len(table.keys)
    if table.by_events:
        allowed = [kind for kind in allowed if "column" not in kind]
        per_key = [float(table.look_ups)]
    return ParameterConstraints(sharding_types=allowed, pooling_factors=per_key)


def _topology(device: torch.device) -> Topology:
    world, cuda = dist.get_world_size(), device.type == "cuda"
    return TopologyFactory.create_topology(
        TrainerConfig(
            world_size=world,
            local_world_size=int(os.environ.get("LOCAL_WORLD_SIZE", world)),
            hbm_cap_bytes=torch.cuda.get_device_properties(device).total_memory if cuda else None,
        ),
        kernel_config=KernelConfig(compute_device=device.type),
    )


def splits(device: torch.device) -> list[str]:
    """TorchRec's ways to split a table: by table, column or row. gloo does not support rows."""
    types = [ShardingType.TABLE_WISE, ShardingType.COLUMN_WISE]
    if device.type != "cpu":
        types += [
            ShardingType.ROW_WISE,
            ShardingType.TABLE_ROW_WISE,
            ShardingType.TABLE_COLUMN_WISE,
        ]
    return [kind.value for kind in types]


def shard(
    model: ShardableModel,
    sharding_plan: ShardingPlan | None = None,
    *,
    optimizer: type[torch.optim.Optimizer] = RowWiseAdagrad,
    **options: float,
) -> DistributedModelParallel:
    """Spread the tables over all processes and copy the trunk to each, under DDP. Collective.

    The tables' optimiser runs in the backward pass, fused with their gradients: by default row-wise
    Adagrad with TABLE_LR and TABLE_EPS; `options` are passed to the optimiser. The parameters that
    `dense_parameters` returns need an optimiser of your own. Tables are initialised again, so load
    a state afterwards. Takes ownership of `model`. Raises RuntimeError without an initialised
    process group, and ValueError for a plan that TorchRec would compute wrongly.
    """
    if not dist.is_initialized():
        raise RuntimeError("call torch.distributed.init_process_group before sharding")
    if optimizer is RowWiseAdagrad:
        options = {"lr": TABLE_LR, "eps": TABLE_EPS, **options}
    sharding_plan = sharding_plan or plan(model)
    _check_columns(sharding_plan)
    apply_in_backward(optimizer, model.table_parameters(), options, register_hook=False)
    return DistributedModelParallel(
        module=model, device=device_of_rank(), plan=sharding_plan, sharders=sharders()
    )


def _check_columns(sharding_plan: ShardingPlan) -> None:
    """Raise ValueError if tables that events read would be split into columns of different widths.

    TorchRec would use the first width for the whole collection (torchrec 1.8,
    distributed/embedding.py: "CW partition must be same for all CW sharded parameters").
    """
    for path, tables in sharding_plan.plan.items():
        if not path.startswith("unpooled."):
            continue
        widths = {
            unescaped(name): {part.shard_sizes[1] for part in table.sharding_spec.shards}
            for name, table in tables.items()
            if table.sharding_type == ShardingType.COLUMN_WISE.value
        }
        if len(set().union(*widths.values())) > 1:
            each = ", ".join(f"{name} {sorted(sizes)}" for name, sizes in widths.items())
            raise ValueError(
                "tables of the same width that events read are split by columns into parts of "
                f"different widths: {each}. Give them the same min_partition, which must divide "
                "the width"
            )


def dense_parameters(model: DistributedModelParallel) -> dict[str, nn.Parameter]:
    """The parameters that the backward pass does not update, by name: all except the tables."""
    return dict(in_backward_optimizer_filter(model.named_parameters()))
