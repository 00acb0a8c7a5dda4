"""Sharding: which device holds which table, and the model spread over the devices."""

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
"""Learning rate of the tables' row-wise Adagrad; docs/sharding.md has what it was chosen by."""

TABLE_EPS = 1e-8
"""What is added to its denominator, as in the fused kernel's own default."""

RESERVED = 0.15
"""Share of a device's memory that the planner leaves to all but tables: TorchRec's own default."""


def device_of_rank() -> torch.device:
    """This process's GPU, by LOCAL_RANK as torchrun sets it; the CPU under gloo."""
    if dist.get_backend() == "gloo":
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def plan(
    model: ShardableModel, constraints: Mapping[str, ParameterConstraints] | None = None
) -> ShardingPlan:
    """Which device holds which part of which table, as TorchRec's planner finds it; collective.

    `constraints` are TorchRec's, by feature; those of a sequence's own fields by `sequence.field`.
    Tables without one may be split in every way that the device can do, but are never copied to all
    devices: copies are not updated in the backward; and those that events read never by columns.
    KeyError for a feature that has no table of its own.
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
    """Those of the collections that hold the tables."""
    return [EmbeddingBagCollectionSharder(), EmbeddingCollectionSharder()]


def _constraint(table: EmbeddingTable, device: torch.device) -> ParameterConstraints:
    """What the planner may do with a table without a constraint.

    It gets the number of rows that an example needs: of what events read, at most.
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
    """TorchRec's ways to split a table: by table, column, row. gloo cannot do rows."""
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
    """Spread the tables over all processes and copy the trunk to each, under DDP; collective.

    The tables' optimizer runs in the backward, fused with their gradients: by default row-wise
    Adagrad with TABLE_LR and TABLE_EPS; `options` are the optimizer's. What `dense_parameters`
    returns is left for an optimizer of your own. Tables are initialised again: load a state
    afterwards. Takes over `model`. Needs an initialised process group (RuntimeError). ValueError
    for a plan that TorchRec would compute wrongly.
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
    """Raise ValueError where tables that events read would be split by columns of several widths.

    TorchRec would take the first width for all of a collection (torchrec 1.8,
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
    """By name, the parameters that no optimizer updates in the backward: all but the tables."""
    return dict(in_backward_optimizer_filter(model.named_parameters()))
