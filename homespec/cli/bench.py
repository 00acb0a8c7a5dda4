"""Command line: `homespec bench`, the speed of a spec's code beside plain code and the floor."""

from __future__ import annotations

import gc
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from homespec.cli.errors import exit_2_on, needing
from homespec.cli.exit_codes import INTERRUPTED, OK
from homespec.cli.report_files import report_file, write_report
from homespec.cli.specs import set_option

if TYPE_CHECKING:
    from homespec.bench.measurements import Result, Settings


T = TypeVar("T")
TRAINED, SERVED = (512,), (1, 8, 64, 1024)
"""Batches if none are given."""


def _names(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(","))) if text else ()


def _once(_context: click.Context, _option: click.Parameter, given: tuple[T, ...]) -> tuple[T, ...]:
    """The given values without duplicates."""
    return tuple(dict.fromkeys(given))


@click.command()
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@set_option
@click.option(
    "--batch", "batches", multiple=True, type=click.IntRange(1), callback=_once,
    help="Number of rows of a step; training needs two. May be repeated."
    "  [default: 512; for inference 1, 8, 64, 1024]",
)  # fmt: skip
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]),
    help="Device to run on. [default: cuda if there is a GPU]",
)  # fmt: skip
@click.option(
    "--precision", "precisions", multiple=True, default=["float32"], show_default=True,
    type=click.Choice(["float32", "bf16"]), callback=_once,
    help="bf16 uses autocast for forward and loss. May be repeated.",
)  # fmt: skip
@click.option(
    "--rounds", default=30, show_default=True, type=click.IntRange(1),
    help="Number of rounds. Each runs every variant once, or ten times in inference.",
)  # fmt: skip
@click.option(
    "--threads", multiple=True, type=click.IntRange(1), callback=_once,
    help="Number of threads of an operation on a CPU. May be repeated.  [default: torch's own "
        "number]",
)  # fmt: skip
@click.option(
    "--variants", callback=_names, metavar="NAME,NAME,…",
    help="Any of naive, naive-compiled, ours, ours-compiled and floor. On a GPU also "
        "naive-graphs and ours-graphs (compiled with CUDA graphs), ours-fused and "
        "ours-fused-graphs (which write less to memory), and ours-triton and ours-triton-graphs "
        "(compiled for CUDA). In inference also ours-aotinductor and ours-onnxruntime (the files "
        "of homespec export), and with --keep also ours-pruned and ours-pruned-compiled."
    "  [default: all]",
)  # fmt: skip
@click.option(
    "--mode", type=click.Choice(["training", "inference"]), default="training", show_default=True,
    help="Measure a training step, or a forward pass as in a service.",
)  # fmt: skip
@click.option(
    "--keep", callback=_names, metavar="TASK,TASK,…",
    help="With --mode inference, also measure `ours` pruned to these tasks, eager and compiled.",
)  # fmt: skip
@click.option("--forward", is_flag=True, help="Also measure forward and loss without gradients.")
@click.option("--memory", is_flag=True, help="Also measure the peak memory of a step.")
@click.option(
    "--compile-time", is_flag=True,
    help="Also measure compile time, each time in a new process, with and without a cache.",
)  # fmt: skip
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    callback=report_file,
    help="Write all results to this file; - prints them instead of the tables.",
)  # fmt: skip
@click.option(
    "--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path), callback=report_file,
    help="Draw the times as bars, in .png, .svg or .pdf.",
)  # fmt: skip
def bench(
    spec: Path,
    overrides: tuple[str, ...],
    device: str | None,
    precisions: tuple[str, ...],
    variants: tuple[str, ...],
    batches: tuple[int, ...],
    mode: str,
    json_file: Path | None,
    plot_file: Path | None,
    **options: Any,
) -> int:
    """Measure a training step of SPEC's model on random rows, or its forward pass in a service:
    `naive` (one module for each expert) and `ours`, eager and under torch.compile, compared with
    the bare matrix products (`floor`).

    All variants run in turns in one process, with the same weights. Their first steps must agree.
    """
    gc.enable()
    for name, level in (("KINETO_LOG_LEVEL", "99"), ("TORCH_CPP_LOG_LEVEL", "ERROR")):
        os.environ.setdefault(name, level)  # torch's profiler would log its own work
    with needing("torch"):
        from homespec.bench.machine import has_gpu

    import homespec
    from homespec.bench.candidates import Unequal
    from homespec.bench.measurements import Settings
    from homespec.bench.runner import measure
    from homespec.memory import OutOfMemoryError
    from homespec.variant import UnknownNameError

    if device == "cuda" and not has_gpu():
        raise click.BadParameter("torch finds no GPU here.", param_hint="'--device'")
    device = device or ("cuda" if has_gpu() else "cpu")
    inference = mode == "inference"
    settings = Settings(
        batches=batches or (SERVED if inference else TRAINED),
        device=device,
        precisions=precisions,
        variants=_variants(variants, device, inference, bool(options["keep"])),
        inference=inference,
        **options,
    )
    _check(settings)
    loaded = homespec.load(spec, overrides)
    if plot_file:
        with needing("bench"):
            import_module("homespec.bench.plot")
    with exit_2_on(Unequal, OutOfMemoryError):
        try:
            result = measure(loaded, settings, lambda line: click.echo(line, err=True))
        except UnknownNameError as error:
            raise click.BadParameter(str(error), param_hint="'--keep'") from None
        _write(result, json_file, plot_file)
    return OK if result.complete else INTERRUPTED


def _check(settings: Settings) -> None:
    """Raise UsageError for options that the mode does not support."""
    if settings.inference and (settings.forward or settings.memory or settings.compile_time):
        raise click.UsageError("--mode inference measures nothing but the forward pass.")
    if settings.keep and not settings.inference:
        raise click.UsageError("--keep is for --mode inference: training needs all tasks.")
    _check_files(settings)
    if min(settings.batches) < 2 and not settings.inference:
        raise click.BadParameter(
            "training needs batches of at least 2 rows.", param_hint="'--batch'"
        )


def _check_files(settings: Settings) -> None:
    """Raise UsageError if only exported files are measured and none of them can be."""
    from homespec.bench.variants import FLOOR, VARIANTS
    from homespec.export import ONNX_PACKAGES

    served = {VARIANTS[name].served for name in settings.variants if name != FLOOR}
    if None not in served and "float32" not in settings.precisions:
        raise click.BadParameter(
            "the files of homespec export compute in float32.", param_hint="'--precision'"
        )
    if served == {"onnxruntime"}:
        with needing("export"):
            for package in ONNX_PACKAGES:
                import_module(package)


def _variants(
    wanted: tuple[str, ...], device: str, inference: bool, pruned: bool
) -> tuple[str, ...]:
    """The variants to measure; raises UsageError for one that is unknown or cannot run."""
    from homespec.bench.variants import FLOOR, VARIANTS, names_for
    from homespec.train.torch_compile import obstacle

    known = names_for(device, inference, pruned)
    for name in wanted:
        if name not in known:
            raise click.BadParameter(
                f"`{name}` {_why_not(name, device)}: use {', '.join(known)}.",
                param_hint="'--variants'",
            )
    chosen = tuple(name for name in known if not wanted or name in wanted)
    if chosen == (FLOOR,):
        raise click.BadParameter("a floor needs a variant above it.", param_hint="'--variants'")
    why_not = obstacle()
    if why_not and any(name != FLOOR and VARIANTS[name].compiled for name in chosen):
        eager = ",".join(n for n in known if n == FLOOR or not VARIANTS[n].compiled)
        raise click.UsageError(
            f"torch.compile cannot work here: {why_not}; or leave it out with --variants {eager}"
        )
    return chosen


def _why_not(name: str, device: str) -> str:
    """Why a variant cannot be measured with the given options."""
    from homespec.bench.variants import VARIANTS

    if name not in VARIANTS:
        return "is not a variant"
    if VARIANTS[name].pruned:
        return "is for --keep"
    if VARIANTS[name].runs(device, inference=True, pruned=False):
        return "is for --mode inference"
    return f"is for --device {'cuda' if device == 'cpu' else 'cpu'}, not {device}"


def _write(result: Result, json_file: Path | None, plot_file: Path | None) -> None:
    """Print the tables, or JSON in their place, and write the files."""
    from homespec.bench import report

    if str(json_file) == "-":
        click.echo(report.to_json(result), nl=False)
    else:
        report.show(result)
    if json_file and str(json_file) != "-":
        write_report(json_file, report.to_json(result))
    if plot_file and result.cases:
        from homespec.bench.plot import plot

        plot(result, plot_file)
        click.echo(f"wrote {plot_file}", err=True)
