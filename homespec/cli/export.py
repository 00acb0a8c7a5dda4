"""Command line: `homespec export`, a run as a folder that servers load."""

from __future__ import annotations

import gc
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
from click.core import ParameterSource

from homespec.cli.errors import exit_2_on, needing
from homespec.export import ONNX_PACKAGES, Format, Weights
from homespec.scoring import Output
from homespec.variant import split_names

if TYPE_CHECKING:
    from homespec.train.load_run import Which

DEVICES = ("cpu", "cuda")
NUMBERS, CHECKPOINTS = ("float32", "float64"), ("best", "last")
FIXED = ("--tasks", "--format", "--device", "--output", "--weights")
"""Options that are fixed by the export that compiled a folder."""


@click.command(short_help="Make a folder that servers load.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write."
)
@click.option("--overwrite", is_flag=True, help="Replace the folder if an export wrote it.")
@click.option(
    "--tasks", multiple=True, metavar="TASK,…", help="Export only these tasks. May be repeated."
)
@click.option(
    "--user-features", multiple=True, metavar="FEATURE,…",
    help="Take these features once for all rows, which are one user's candidates. May be "
        "repeated.",
)  # fmt: skip
@click.option(
    "--format", "wanted", type=click.Choice(get_args(Format)), default="pt2", show_default=True,
    help="A package of AOTInductor, an ONNX file, or both.",
)  # fmt: skip
@click.option(
    "--device", type=click.Choice(DEVICES), default="cpu", show_default=True,
    help="Device on which model.pt2 runs; it is compiled there.",
)  # fmt: skip
@click.option(
    "--output", type=click.Choice(get_args(Output)), default="probabilities", show_default=True,
    help="Unit of regressions: that of the label, or that of the spec's `scale`.",
)  # fmt: skip
@click.option(
    "--numbers", type=click.Choice(NUMBERS),
    help="Type of numbers with buckets.  [default: as in the data of the run]",
)  # fmt: skip
@click.option(
    "--weights", type=click.Choice(get_args(Weights)), default="float32", show_default=True,
    help="Store embedding tables in fewer bytes; computation stays in float32.",
)  # fmt: skip
@click.option(
    "--checkpoint", type=click.Choice(CHECKPOINTS), default="best", show_default=True,
    help="Weights of the best epoch, or of the last checkpoint.",
)  # fmt: skip
@click.option(
    "--spec", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The spec of a run whose folder has no spec.yaml.",
)  # fmt: skip
@click.option(
    "--weights-only", is_flag=True, help="Compile nothing; only replace the weights of --into."
)
@click.option(
    "--into", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
    help="The export whose compiled code --weights-only reuses, and which it replaces unless "
        "--out is given.",
)  # fmt: skip
@click.pass_context
def export(
    ctx: click.Context, /, run: Path, out: Path | None, overwrite: bool, tasks: tuple[str, ...],
    user_features: tuple[str, ...], wanted: Format, device: str, output: Output,
    numbers: str | None, weights: Weights, checkpoint: Which, spec: Path | None,
    weights_only: bool, into: Path | None,
) -> None:  # fmt: skip
    """Make a folder that servers load from the trained model in the folder RUN.

    It holds the compiled model, a description of its inputs and outputs, samples, and
    configurations for Triton. Before the folder is put in place, the exported model is compared
    with the trained one and refused if its outputs differ. docs/serving.md explains each step from
    a run to a server.

    With --weights-only --into DIR, the weights of RUN replace those in DIR. This takes seconds, and
    is a single step for a server that reads DIR.
    """
    _check(ctx, out, weights_only, into)
    if user_features and not split_names(user_features):
        raise click.UsageError("no user feature is given.")
    gc.enable()
    with needing("export"):
        for package in ONNX_PACKAGES if wanted != "pt2" else ():
            importlib.import_module(package)
        from homespec.export import ExportError
        from homespec.export import run as exporting
        from homespec.export.subject import Options
        from homespec.train import RunError

    options = Options(
        split_names(tasks), output, device, numbers, weights, checkpoint, spec,
        split_names(user_features),
    )  # fmt: skip
    with exit_2_on(ExportError, RunError, OSError):
        if into is not None:
            exporting.replace_weights(run, into, out or into, options, _say)
        elif out is not None:
            exporting.export_run(run, out, wanted, options, overwrite, _say)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _check(ctx: click.Context, out: Path | None, weights_only: bool, into: Path | None) -> None:
    """Raise UsageError for options that exclude each other."""
    if weights_only != (into is not None):
        raise click.UsageError("--weights-only and --into DIR go together.")
    if not weights_only and out is None:
        raise click.UsageError("Give --out, the folder to write.")
    for name in sorted(_given(ctx).intersection(FIXED)) if weights_only else ():
        raise click.UsageError(f"{name} is fixed by the folder --into, which is already compiled.")
    if weights_only and "--overwrite" in _given(ctx):
        raise click.UsageError("--overwrite is only for exports that compile: give another --out.")


def _given(ctx: click.Context) -> set[str]:
    """The options that the user sets."""
    return {
        option.opts[-1]
        for option in ctx.command.params
        if ctx.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
    }
