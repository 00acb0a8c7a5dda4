"""Command line: `homespec bench`, the speed of a spec's code beside plain code and the floor."""

from __future__ import annotations

import gc
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from homespec.cli.exit_codes import INTERRUPTED, OK
from homespec.cli.specs import set_option

if TYPE_CHECKING:
    from homespec.bench.measurements import Result

MAX_TASKS = 1024


def _counts(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, ...]:
    """The numbers of `4,8,16`, each once."""
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 1 <= int(word) <= MAX_TASKS for word in words):
        raise click.BadParameter(f"{text!r} is no list of numbers of tasks such as 4,8,16.")
    return tuple(dict.fromkeys(map(int, words)))


def _names(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(","))) if text else ()


@click.command()
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@set_option
@click.option(
    "--batch",
    default=512,
    show_default=True,
    type=click.IntRange(1),
    help="Rows of a step; training needs two.",
)
@click.option(
    "--tasks", callback=_counts, metavar="N,N,…",
    help="Numbers of tasks to scale the spec to.  [default: those that it has]",
)  # fmt: skip
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]),
    help="Where to run.  [default: cuda if there is a GPU]",
)  # fmt: skip
@click.option(
    "--precision", "precisions", multiple=True, default=["float32"], show_default=True,
    type=click.Choice(["float32", "bf16"]),
    help="bf16 is autocast over forward and loss. May be repeated.",
)  # fmt: skip
@click.option(
    "--rounds", default=30, show_default=True, type=click.IntRange(1),
    help="Each runs every variant once.",
)  # fmt: skip
@click.option(
    "--variants", callback=_names, metavar="NAME,NAME,…",
    help="Of naive, naive-compiled, ours, ours-compiled, floor; on a GPU also naive-graphs and"
    " ours-graphs, which are compiled with CUDA graphs, ours-fused and ours-fused-graphs, which"
    " write less to memory, and ours-triton and ours-triton-graphs, which are compiled for CUDA;"
    " with --keep ours-pruned and ours-pruned-compiled."
    "  [default: all]",
)  # fmt: skip
@click.option(
    "--mode", type=click.Choice(["training", "inference"]), default="training", show_default=True,
    help="A training step, or a forward pass as a service runs it: batch norm folded.",
)  # fmt: skip
@click.option(
    "--keep", callback=_names, metavar="TASK,TASK,…",
    help="With --mode inference: also measure ours pruned to these tasks, eager and compiled.",
)  # fmt: skip
@click.option("--forward", is_flag=True, help="Also measure forward and loss without gradients.")
@click.option("--memory", is_flag=True, help="Also measure the peak memory of a step.")
@click.option(
    "--compile-time", is_flag=True,
    help="Also measure compiling, each time in a new process: without and with a cache.",
)  # fmt: skip
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write everything to this file; - prints it in place of the tables.",
)  # fmt: skip
@click.option(
    "--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the times over the number of tasks, as .png, .svg or .pdf.",
)  # fmt: skip
def bench(
    spec: Path,
    overrides: tuple[str, ...],
    batch: int,
    tasks: tuple[int, ...],
    device: str | None,
    precisions: tuple[str, ...],
    rounds: int,
    variants: tuple[str, ...],
    mode: str,
    keep: tuple[str, ...],
    forward: bool,
    memory: bool,
    compile_time: bool,
    json_file: Path | None,
    plot_file: Path | None,
) -> int:
    """Measure a training step of SPEC's model on random rows, or its forward pass in a service:
    `naive` (one module for each expert) and `ours`, eager and under torch.compile, beside the bare
    matrix products (`floor`).

    All variants run in one process with the same weights, in turns; their first steps must agree.
    """
    gc.enable()
    _quiet()
    if importlib.util.find_spec("torch") is None:
        raise click.UsageError("`bench` needs torch: pip install 'homespec[torch]'")
    import homespec
    from homespec.bench.candidates import Unequal
    from homespec.bench.measurements import Settings
    from homespec.bench.plot import NoPlot, library
    from homespec.bench.runner import measure
    from homespec.cli.errors import exit_2_on
    from homespec.memory import OutOfMemoryError
    from homespec.variant import UnknownNameError

    inference = mode == "inference"
    _check_mode(inference, batch, bool(keep), forward or memory or compile_time)
    for file in (json_file, plot_file):
        _check_writable(file)
    loaded = homespec.load(spec, overrides)
    device = _device(device)
    settings = Settings(
        batch, tasks, device, tuple(dict.fromkeys(precisions)), rounds,
        _variants(variants, device, bool(keep)), forward, compile_time, memory, inference, keep,
    )  # fmt: skip
    with exit_2_on(NoPlot, Unequal, OutOfMemoryError):
        if plot_file:
            library()
        try:
            result = measure(loaded, settings, lambda line: click.echo(line, err=True))
        except UnknownNameError as error:
            raise click.BadParameter(str(error), param_hint="'--keep'") from None
        except ValueError as error:
            raise click.BadParameter(f"{error}.", param_hint="'--tasks'") from None
        _put_out(result, json_file, plot_file)
    return OK if result.complete else INTERRUPTED


def _check_mode(inference: bool, batch: int, keep: bool, more: bool) -> None:
    """Raise UsageError for what the mode cannot measure; `more` is all but the time of a step."""
    if inference and more:
        raise click.UsageError("--mode inference measures nothing but the forward pass.")
    if keep and not inference:
        raise click.UsageError("--keep is for --mode inference: training needs all tasks.")
    if batch < 2 and not inference:
        raise click.BadParameter(
            "training needs batches of at least 2 rows.", param_hint="'--batch'"
        )


def _quiet() -> None:
    """Keep torch's profiler from telling of its own work; before torch is imported."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _device(wanted: str | None) -> str:
    from homespec.bench.machine import has_gpu

    if wanted == "cuda" and not has_gpu():
        raise click.BadParameter("torch finds no GPU here.", param_hint="'--device'")
    return wanted or ("cuda" if has_gpu() else "cpu")


def _variants(wanted: tuple[str, ...], device: str, pruned: bool) -> tuple[str, ...]:
    """The variants to measure; raises UsageError for one that is unknown or cannot run."""
    from homespec.bench.variants import FLOOR, VARIANTS, names_for
    from homespec.train.torch_compile import obstacle

    known = names_for(device, pruned)
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
    """Why a variant cannot be measured."""
    from homespec.bench.variants import VARIANTS

    if name not in VARIANTS:
        return "is no variant"
    return "is for --keep" if VARIANTS[name].pruned else f"is for --device cuda, not {device}"


def _check_writable(file: Path | None) -> None:
    """Raise UsageError before the long work if its result could not be written."""
    if file is None or str(file) == "-":
        return
    there = next(folder for folder in file.absolute().parents if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise click.UsageError(f"Cannot write `{file}`: `{there}` is no folder to write to.")


def _put_out(result: Result, json_file: Path | None, plot_file: Path | None) -> None:
    """Print the tables, or JSON in their place; write the files."""
    from homespec.atomic_write import write_texts
    from homespec.bench import plot, report

    if str(json_file) == "-":
        click.echo(report.to_json(result), nl=False)
    else:
        report.show(result)
    if json_file and str(json_file) != "-":
        write_texts({json_file: report.to_json(result)})
        click.echo(f"wrote {json_file}", err=True)
    if plot_file and result.cases:
        plot.plot(result, plot_file)
        click.echo(f"wrote {plot_file}", err=True)
