"""Command line: `homespec train`, from a spec and prepared data to weights and a table."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import click

from homespec.cli.specs import set_option


@click.command(short_help="Train the model of a spec and measure it.")
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@set_option
@click.option(
    "--data", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="Folder with train.parquet and valid.parquet.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path),
    help="Folder for weights and metrics.  [default: runs/NAME OF THE SPEC]",
)  # fmt: skip
@click.option("--epochs", default=1, show_default=True, type=click.IntRange(1))
@click.option("--batch-size", default=1024, show_default=True, type=click.IntRange(2))
@click.option(
    "--lr", default=3e-3, show_default=True, type=click.FloatRange(0, min_open=True),
    help="Learning rate of Adam.",
)  # fmt: skip
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1),
    help="Of the weights and of the order.",
)  # fmt: skip
@click.option(
    "--precision", default="float32", show_default=True, type=click.Choice(["float32", "bf16"]),
    help="bf16 computes in bfloat16 and keeps weights in float32.",
)  # fmt: skip
@click.option(
    "--compile/--no-compile", "compiled", default=None,
    help="Use torch.compile.  [default: where it can work]",
)  # fmt: skip
@click.option("--limit-rows", type=click.IntRange(2), help="Use the first rows only.")
def train(
    spec: Path,
    flags: tuple[str, ...],
    data: Path,
    out: Path | None,
    compiled: bool | None,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    precision: str,
    limit_rows: int | None,
) -> None:
    """Train the model of SPEC on DATA/train.parquet and measure it on DATA/valid.parquet.

    Writes weights by logical names, metrics and the losses of every step to the folder OUT.
    """
    gc.enable()
    import homespec
    from homespec.cli.failure import exit_2_on
    from homespec.data import DataError
    from homespec.train import run, table

    parsed = homespec.load(spec, flags)
    settings = run.Settings(epochs, batch_size, lr, seed, precision, compiled, limit_rows)
    out = out or Path("runs", parsed.name)
    _check_writable(out)
    try:
        with exit_2_on(DataError):
            result = run.train(parsed, data, out, settings, click.echo)
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was written", err=True)
        raise click.Abort from None
    table.show(result, out)


def _check_writable(out: Path) -> None:
    """Raise UsageError before the long work if its result could not be written."""
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise click.UsageError(f"Cannot write to `{out}`: `{there}` is no folder to write to.")
