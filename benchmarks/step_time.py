"""Time of a training step (forward, loss, backward, Adam) on random rows of a spec's features.

    python benchmarks/step_time.py specs/industrial.yaml --batch-size 4096 --precision bf16

Variants: `plain` is one module for each expert, `batched` what `homespec compile` writes, and
`compiled` the latter under torch.compile(fullgraph=True). Data lies on the device beforehand.
"""

from __future__ import annotations

import contextlib
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor

import homespec
from homespec.schema import Spec

VARIANTS = ("plain", "batched", "compiled")


def random_features(spec: Spec, rows: int, device: str) -> dict[str, Tensor]:
    """Features by name: ids int64 [rows], numbers [rows], dense vectors [rows, n]."""
    features = {}
    for name, feature in spec.features.items():
        if feature.kind == "id":
            features[name] = torch.randint(feature.rows - 1, (rows,))
        elif feature.kind == "bucketize":
            low, high = feature.bucketize[0], feature.bucketize[-1]
            features[name] = torch.rand(rows) * (high - low) * 1.2 + low
        else:
            features[name] = torch.randn(rows, feature.dense)
    return {name: column.to(device) for name, column in features.items()}


def make_step(
    spec: homespec.api.LoadedSpec, variant: str, rows: int, device: str, bf16: bool
) -> Callable[[], None]:
    """A function that takes one training step."""
    optimize = variant != "plain"
    code = homespec.build_module(spec, optimize=optimize)
    model = homespec.build(spec, optimize=optimize, device=device)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    features = random_features(spec, rows, device)
    labels = {task: torch.randint(2, (rows,), device=device).float() for task in code.TASKS}

    def loss_of(features: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
        return code.loss(model(features), labels)

    if variant == "compiled":
        loss_of = torch.compile(loss_of, fullgraph=True, dynamic=False)

    def step() -> None:
        optimizer.zero_grad()
        autocast = torch.autocast(device, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with autocast:
            loss = loss_of(features, labels)
        loss.backward()
        optimizer.step()

    return step


def milliseconds(step: Callable[[], None], steps: int, device: str) -> list[float]:
    """The time of each step, after three that warm up (and compile)."""
    times = []
    for count in range(steps + 3):
        started = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        if count >= 3:
            times.append((time.perf_counter() - started) * 1e3)
    return times


@click.command()
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--batch-size", default=4096, show_default=True, type=click.IntRange(2))
@click.option("--steps", default=50, show_default=True, type=click.IntRange(1))
@click.option("--precision", default="float32", type=click.Choice(["float32", "bf16"]))
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu")
@click.option("--variant", "variants", multiple=True, type=click.Choice(VARIANTS), default=VARIANTS)
def main(
    spec: Path, batch_size: int, steps: int, precision: str, device: str, variants: tuple[str, ...]
) -> None:
    """Print median and range of the step's time for each variant."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    click.echo(f"{spec}, batch {batch_size}, {precision}, {name}, torch {torch.__version__}")
    for variant in variants:
        torch.manual_seed(0)
        step = make_step(homespec.load(spec), variant, batch_size, device, precision == "bf16")
        times = milliseconds(step, steps, device)
        median = statistics.median(times)
        click.echo(
            f"{variant:9} {median:9.2f} ms ({min(times):.2f} to {max(times):.2f})"
            f"  {batch_size / median * 1e3:12,.0f} rows/s"
        )


if __name__ == "__main__":
    main()
