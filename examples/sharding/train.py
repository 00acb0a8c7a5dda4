"""Sharding: an example of training, to copy and change. Run it under torchrun.

    torchrun --nproc-per-node 2 -m examples.sharding.train SPEC --data FOLDER --out FILE

Each process trains on its part of every batch of FOLDER/train.parquet, on its GPU under NCCL or on
the CPU under gloo; rank 0 writes the weights by logical name to FILE, from which the single-process
model can be loaded as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import safetensors.torch
import torch
import torch.distributed as dist

import homespec
from homespec import sharding
from homespec.api import LoadedSpec
from homespec.atomic_write import replacing
from homespec.data.batches import Batch
from homespec.data.dataset import BatchDataset
from homespec.data.splits import open_splits
from homespec.schema.fitted_columns import fitted_columns
from homespec.sharding.parallel import TABLE_LR, device_of_rank
from homespec.train.quantiles import fit

REPORT_EVERY = 50
"""Steps between two lines of progress."""


def batches(spec: LoadedSpec, data: Path, size: int, seed: int) -> Iterator[Batch]:
    """This rank's batches of one epoch, of `size` examples over all ranks."""
    rank, world = dist.get_rank(), dist.get_world_size()
    return iter(
        BatchDataset(spec, open_splits([data])[0], size // world, seed=seed, rank=rank, world=world)
    )


def fitted(spec: LoadedSpec, data: Path, size: int, seed: int) -> dict[str, list[float]]:
    """The boundaries that the spec leaves to the data: rank 0 fits them and sends them to the
    others."""
    wanted = fitted_columns(spec)
    counts = {name: each.quantiles - 1 for name, each in wanted.items()}
    if not counts:
        return {}
    numbers = torch.empty(sum(counts.values()), dtype=torch.float64)
    if dist.get_rank() == 0:
        stream = BatchDataset(spec, open_splits([data])[0], size, shuffle=0, training=False)
        names = {name for key, each in wanted.items() for name in (key, each.first) if name}
        columns = ({name: batch.features[name].numpy() for name in names} for batch in stream)
        fitted = fit(columns, spec, seed=seed).values
        numbers = torch.tensor(
            [number for name in counts for number in fitted[name]], dtype=torch.float64
        )
    numbers = numbers.to(device_of_rank())
    dist.broadcast(numbers, src=0)
    parts = torch.split(numbers.cpu(), list(counts.values()))
    return {name: part.tolist() for name, part in zip(counts, parts, strict=True)}


def train(
    spec: LoadedSpec, data: Path, *, batch_size: int, lr: float, table_lr: float, seed: int
) -> dict[str, torch.Tensor]:
    """Train one epoch, and return the state by logical name on rank 0, nothing elsewhere."""
    torch.manual_seed(seed + dist.get_rank())
    device = device_of_rank()
    boundaries = fitted(spec, data, batch_size, seed)
    model = sharding.shard(sharding.build(spec, boundaries), lr=table_lr)
    preprocess = sharding.Preprocessor(spec, boundaries).to(device)
    code = homespec.build_module(spec)
    optimizer = torch.optim.Adam(sharding.dense_parameters(model).values(), lr=lr)
    total = torch.zeros((), device=device)
    for step, batch in enumerate(batches(spec, data, batch_size, seed), start=1):
        features = {name: tensor.to(device) for name, tensor in batch.features.items()}
        labels = {task: label.to(device) for task, label in batch.labels.items()}
        loss = code.loss(model(preprocess(features)), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # which also updates the tables
        optimizer.step()
        total += loss.detach()
        if step % REPORT_EVERY == 0:
            report(step, total / REPORT_EVERY)
            total.zero_()
    return sharding.logical_state(model)


def report(step: int, loss: torch.Tensor) -> None:
    """Print the mean over the ranks. Collective."""
    dist.all_reduce(loss)
    if dist.get_rank() == 0:
        click.echo(f"step {step}: loss {loss.item() / dist.get_world_size():.4f}")


@click.command(short_help="Train a spec with sharded tables.")
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--batch-size", default=1024, show_default=True, type=click.IntRange(2))
@click.option("--lr", default=3e-3, show_default=True, help="Learning rate of Adam, for the trunk.")
@click.option(
    "--table-lr", default=TABLE_LR, show_default=True, help="Learning rate of row-wise Adagrad."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
def main(
    spec: Path, data: Path, out: Path, batch_size: int, lr: float, table_lr: float, seed: int
) -> None:
    """Train SPEC for one epoch with its tables sharded over all processes."""
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        device = device_of_rank()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if batch_size % dist.get_world_size():
            raise click.UsageError("--batch-size must be a multiple of the number of processes.")
        state = train(
            homespec.load(spec), data, batch_size=batch_size, lr=lr, table_lr=table_lr, seed=seed
        )
        if state:
            with replacing(out) as (temporary,):
                safetensors.torch.save_file(state, temporary)
            click.echo(f"wrote {out}")
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
