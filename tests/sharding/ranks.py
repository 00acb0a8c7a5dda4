"""One of two processes: python ranks.py RANK FOLDER. It leaves FOLDER/RANK.pt to be compared.

FOLDER/NORM.safetensors has the weights to start from, by logical name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.distributed as dist
from sharding_cases import DENSE_LR, TABLE_LR, WORLD, batch, load, part
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.planner import ParameterConstraints
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist
from torchrec.distributed.types import ShardingPlan

import homespec
from homespec import sharding

STEPS = 2


def splitting(video: str) -> dict[str, ParameterConstraints]:
    """How to split the table of `video`: by columns into parts of 4, which gives each rank two."""
    return {"video": ParameterConstraints(sharding_types=[video], min_partition=4)}


def sharded(case: str, folder: Path, **constraints: ParameterConstraints) -> Any:
    loaded = load(case)
    model = sharding.build(loaded)
    spread = sharding.shard(model, sharding.plan(model, constraints), lr=TABLE_LR)
    state = safetensors.torch.load_file(folder / f"{case}.safetensors")
    sharding.load_logical_state(spread, state)
    return loaded, spread, state


def placements(plan: ShardingPlan) -> dict[str, list[int]]:
    """The ranks that hold a part of each table."""
    return {
        name: sorted(set(table.ranks))
        for tables in plan.plan.values()
        for name, table in tables.items()
    }


def steps(rank: int, folder: Path, case: str, kind: str = "") -> dict[str, Any]:
    """Some steps of training by hand, then an evaluation."""
    loaded, model, state = sharded(case, folder, **splitting(kind) if kind else {})
    code = homespec.build_module(loaded)
    preprocess = sharding.Preprocessor(loaded, sharding.boundaries_of(state))
    before = sharding.logical_state(model)
    dense = sharding.dense_parameters(model)
    optimizer = torch.optim.SGD(dense.values(), lr=DENSE_LR)
    results: dict[str, Any] = {"losses": [], "grads": {}, "dense": sorted(dense)}
    for step in range(STEPS):
        features, labels = batch(loaded, step)
        logits = model(preprocess(part(features, rank)))
        loss = code.loss(logits, part(labels, rank))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        results["losses"].append(loss.detach())
        if step == 0:
            results["logits"] = {task: logit.detach() for task, logit in logits.items()}
            results["grads"] = {name: p.grad.clone() for name, p in dense.items()}
    results["ranks"] = placements(model.plan)
    results["before"] = before
    results["loaded"] = not before or all(torch.equal(before[n], state[n]) for n in state)
    results["after"] = sharding.logical_state(model)
    model.eval()
    with torch.no_grad():
        results["evaluated"] = model(preprocess(part(batch(loaded, 9)[0], rank)))
    return results


def pipelined(rank: int, folder: Path, case: str) -> dict[str, Any]:
    """The same steps by TorchRec's pipeline, which sends rows ahead of the batch before."""
    loaded, model, state = sharded(case, folder, **splitting("column_wise"))
    code = homespec.build_module(loaded)
    preprocess = sharding.Preprocessor(loaded, sharding.boundaries_of(state))
    optimizer = torch.optim.SGD(sharding.dense_parameters(model).values(), lr=DENSE_LR)

    def forward(batch: sharding.Inputs | None) -> tuple[torch.Tensor, Any]:
        assert batch is not None
        logits = model(batch)
        return code.loss(logits, batch.labels), logits

    def batches() -> Iterator[sharding.Inputs]:
        for step in range(STEPS):
            features, labels = batch(loaded, step)
            yield preprocess(part(features, rank), part(labels, rank))

    pipeline = TrainPipelineSparseDist(
        model, optimizer, torch.device("cpu"), custom_model_fwd=forward
    )
    queue = iter(batches())
    for _ in range(STEPS):
        pipeline.progress(queue)
    pipelined = len(pipeline._pipelined_modules)
    return {"after": sharding.logical_state(model), "modules": pipelined}


def refusal(call: Callable[[], object]) -> str:
    """The message of the exception that a call raises."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def refusals(folder: Path) -> dict[str, Any]:
    """Mistakes, and whether they left the model as it was."""
    _, model, state = sharded("batch", folder)
    name = "features.user.weight"
    fewer = {key: value + 1 for key, value in state.items() if key != name}
    short = {**{key: value + 1 for key, value in state.items()}, name: state[name][1:]}
    results: dict[str, Any] = {
        "missing": refusal(lambda: sharding.load_logical_state(model, fewer)),
        "shape": refusal(lambda: sharding.load_logical_state(model, short)),
    }
    after = sharding.logical_state(model)
    results["unchanged"] = not after or all(torch.equal(after[n], state[n]) for n in state)
    fresh = sharding.build(load("batch"))
    results["constraint"] = refusal(
        lambda: sharding.plan(fresh, {"usr": ParameterConstraints(sharding_types=["table_wise"])})
    )
    parts = {
        name: ParameterConstraints(sharding_types=["column_wise"], min_partition=width)
        for name, width in {"tag": 4, "age": 8}.items()
    }
    kinds = sharding.build(load("kinds"))
    results["columns"] = refusal(lambda: sharding.shard(kinds, sharding.plan(kinds, parts)))
    return results


def initial(folder: Path) -> dict[str, torch.Tensor]:
    """A model that nothing was loaded into."""
    model: DistributedModelParallel = sharding.shard(sharding.build(load("layer")))
    return sharding.logical_state(model)


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    sharding.state.CHUNK = 100  # several messages for a table
    torch.manual_seed(rank)  # ranks agree on nothing that they do not tell each other
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD
    )
    results = {
        "tables": steps(rank, folder, "layer", "table_wise"),
        "columns": steps(rank, folder, "layer", "column_wise"),
        "statistics": steps(rank, folder, "batch", "table_wise"),
        "kinds": steps(rank, folder, "kinds", "column_wise"),
        "flagship": steps(rank, folder, "flagship"),
        "flagship_by_row": steps(rank, folder, "flagship_by_row"),
        "pipeline": pipelined(rank, folder, "layer"),
        "pipeline_of_kinds": pipelined(rank, folder, "kinds"),
        "refusals": refusals(folder),
        "initial": initial(folder),
    }
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
