"""Two processes with half a batch each get the gradients of one process with the whole batch."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

import homespec
from homespec.train import distributed
from homespec.train.sparse_embeddings import SparseTables
from homespec.train.weighting import weighting_of

SPEC = """\
homespec: 1
name: tiny
features:
  user: {id: {buckets: 50}, dim: 4}
  video: {id: {buckets: 50}, dim: 4}
tasks: {a: {}, b: {}, c: {}}
family: mmoe
experts: {hidden: [], width: 8, task: {shared: 2}}
"""
METHODS = ("gradnorm", "pcgrad", "cagrad")


def gradients(method: str, part: slice) -> dict[str, Tensor]:
    """Those of the model and of the weighting, on some rows of a batch."""
    torch.manual_seed(0)
    spec = homespec.loads(SPEC)
    code, model = homespec.build_module(spec), homespec.build(spec, dtype=torch.float64)
    features = {name: torch.randint(0, 6, (32,))[part] for name in code.FEATURES}
    labels = {t: torch.randint(0, 2, (32,)).double()[part] for t in code.TASKS}
    kinds = dict.fromkeys(code.TASKS, "binary")
    weighting = weighting_of(method, code.WEIGHTS, kinds, partial(code.logical_views, model))
    tables = SparseTables(model)
    tables.fit(features)
    leaves = {n: p for n, p in model.named_parameters() if p.requires_grad} | tables.leaves
    losses_T = torch.stack(list(code.losses(model(features), labels).values()))
    weighting.backward(weighting.loss(losses_T), losses_T, leaves, tables.rows)
    tables.set_aside()
    tables.collect()
    named = [*model.named_parameters(), *weighting.named_parameters()]
    found = {n: p.grad.to_dense() for n, p in named if p.grad is not None}
    if method == "gradnorm":  # which leaves the model's parameters to DDP
        dense = {name for name, p in model.named_parameters() if p.requires_grad}
        found = {n: distributed.all_reduce_mean(g) if n in dense else g for n, g in found.items()}
    return found


def work(rank: int, port: int, to: str) -> None:
    """One of the two processes."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    found = {m: gradients(m, slice(16 * rank, 16 * rank + 16)) for m in METHODS}
    torch.save(found, Path(to, f"{rank}.pt"))
    dist.get_backend_config = lambda group=None: "cuda:nccl"  # as of Lightning's DDP on GPUs
    assert distributed.on_rank_zero(lambda: {"of": rank}) == {"of": 0}
    assert distributed.all_reduce_mean(torch.tensor(float(rank))) == 0.5
    gathered = distributed.gather_on_rank_zero(torch.tensor([rank]))
    assert (gathered is None) == (rank == 1) or gathered.tolist() == [0, 1]
    assert len(distributed._gloo_groups) == 1
    dist.barrier()
    dist.destroy_process_group()
    assert not distributed._gloo_groups  # no thread of it is left when Python ends


@pytest.mark.filterwarnings("ignore")  # of the processes that start
def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(work, (port, str(tmp_path)), nprocs=2, start_method="spawn")
    both: list[Any] = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for method in METHODS:
        torch.testing.assert_close(both[0][method], both[1][method], rtol=0, atol=0)
        torch.testing.assert_close(both[0][method], gradients(method, slice(None)))
