"""Command line: `homespec train`, from a spec and prepared data to weights and a table."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from homespec.cli.specs import set_option
from homespec.train.settings import CHOICES, RANGES

if TYPE_CHECKING:
    from homespec.train.settings import Settings

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Grouped(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group under its heading."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", MODEL), []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


class Option(click.Option):
    """An option of a group."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def option(group: str, *names: str, **kwargs: Any) -> Decorator:
    """An option of a group; its default is shown."""
    kwargs.setdefault("show_default", kwargs.get("default") is not None)
    return click.option(*names, cls=Option, group=group, **kwargs)


PATHS = click.Path(path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
MODEL, DATA, LEARNING, MACHINE, RUN = "Model", "Data", "Learning", "Machine", "Run"


class Finite(click.FloatRange):
    """A number of a range that is neither NaN nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; fails like a number outside of the range."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def in_range(name: str) -> Finite:
    """The range of a setting."""
    return Finite(*RANGES[name])


@click.command(cls=Grouped)
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@set_option
@option(
    MODEL,
    "--optimize/--no-optimize",
    default=True,
    show_default=False,
    help="--no-optimize trains the readable twin: one module for each expert.",
)
@option(
    DATA,
    "--data",
    required=True,
    multiple=True,
    type=PATHS,
    help="Files (.parquet, .csv, .csv.gz) or folders of them; or one folder that holds `train`"
    " and `valid`. May be repeated.",
)
@option(
    DATA,
    "--valid",
    multiple=True,
    type=PATHS,
    help="The rows to measure on, likewise.  [default: `valid` of the folder]",
)
@option(
    DATA,
    "--batch-size",
    default=1024,
    type=click.IntRange(2),
    help="Rows of a batch, of all processes together; in training, rows that do not fill the last"
    " one are left out.",
)
@option(
    DATA,
    "--shuffle-rows",
    default=262_144,
    type=click.IntRange(0),
    help="Rows of the buffer in which rows are shuffled; 0 keeps the order of the files.",
)
@option(DATA, "--limit-rows", type=click.IntRange(2), help="Use the first rows only.")
@option(
    DATA,
    "--workers",
    default=0,
    type=click.IntRange(0),
    help="Processes that read rows which do not fit into memory; 0: a thread.",
)
@option(LEARNING, "--epochs", default=1, type=click.IntRange(1), help="Passes over the rows.")
@option(LEARNING, "--lr", default=3e-3, type=in_range("lr"), help="Learning rate.")
@option(
    LEARNING,
    "--warmup-steps",
    default=0,
    type=click.IntRange(0),
    help="Steps over which the learning rate rises from 0.",
)
@option(
    LEARNING,
    "--schedule",
    default="constant",
    type=click.Choice(CHOICES["schedule"]),
    help="Of the learning rate behind the warm-up: cosine and linear fall to 0 at the end.",
)
@option(
    LEARNING,
    "--weight-decay",
    default=0.0,
    type=in_range("weight_decay"),
    help="Of matrices: decoupled with adamw, in the gradient with adam.",
)
@option(LEARNING, "--clip", type=in_range("clip"), help="Clip gradients to this norm.")
@option(
    LEARNING,
    "--optimizer",
    default="adam",
    type=click.Choice(CHOICES["optimizer"]),
    help="Of all weights but embedding tables.",
)
@option(
    LEARNING,
    "--table-optimizer",
    default="adam",
    type=click.Choice(CHOICES["table_optimizer"]),
    help="Of embedding tables; adagrad touches only the rows of a batch.",
)
@option(
    LEARNING,
    "--table-lr",
    default=0.05,
    type=in_range("table_lr"),
    help="Learning rate of that adagrad.",
)
@option(
    LEARNING,
    "--weighting",
    default="fixed",
    type=click.Choice(CHOICES["weighting"]),
    help="How the tasks' losses become one gradient.",
)
@option(
    LEARNING,
    "--seed",
    default=0,
    type=click.IntRange(0, 2**32 - 1),
    help="Of the weights and of the order.",
)
@option(
    MACHINE,
    "--precision",
    default="float32",
    type=click.Choice(CHOICES["precision"]),
    help="bf16 computes in bfloat16 and keeps weights in float32.",
)
@option(
    MACHINE,
    "--compile/--no-compile",
    "compile",
    default=None,
    help="Use torch.compile.  [default: where it can work]",
)
@option(
    MACHINE,
    "--merge-tables/--no-merge-tables",
    default=None,
    help="Make embedding tables of one width one tensor, which takes one look-up.  [default: unless"
    " a CPU trains tables with adam on batches of 4096 rows or more]",
)
@option(RUN, "--out", type=FOLDER, help="Folder of the run.  [default: runs/NAME OF THE SPEC]")
@option(RUN, "--gauc-by", metavar="COLUMN", help="Measure GAUC, too: by the users in this column.")
@option(
    RUN,
    "--monitor",
    metavar="METRIC[/TASK]",
    help="auc, gauc, logloss, mae or rmse: which epoch is best. Of tasks it is the mean by the"
    " weights of their losses.  [default: auc]",
)
@option(
    RUN,
    "--patience",
    type=click.IntRange(1),
    help="Stop after so many epochs that were not the best.",
)
@option(
    RUN,
    "--checkpoint-every",
    metavar="STEPS",
    default=2000,
    type=click.IntRange(0),
    help="Besides after each epoch; 0: not.",
)
@option(
    RUN,
    "--resume",
    is_flag=True,
    show_default=False,
    help="Go on from the last checkpoint in OUT, with its settings where no flag gives others.",
)
@option(RUN, "--overwrite", is_flag=True, show_default=False, help="Start anew where a run is.")
@click.pass_context
def train(
    ctx: click.Context,
    /,
    spec: Path,
    overrides: tuple[str, ...],
    data: tuple[Path, ...],
    valid: tuple[Path, ...],
    out: Path | None,
    resume: bool,
    overwrite: bool,
    **given: Any,
) -> None:
    """Train the model of SPEC and measure it on rows held out.

    Leaves checkpoints, weights by logical names, metrics and the losses of every step in the folder
    OUT. A run that was stopped goes on with --resume.

    On several devices: torchrun --nproc-per-node 2 -m homespec train SPEC ...
    """
    if resume and overwrite:
        raise click.UsageError("--resume goes on with a run, --overwrite starts anew: give one.")
    gc.enable()
    with _interrupts_told():
        import homespec
        from homespec.cli.errors import exit_2_on, needing
        from homespec.data import DataError
        from homespec.train import RunError

        with needing("train"):
            from homespec.train import distributed, report, run

        with _told_once():
            parsed = homespec.load(spec, overrides)
            out = out or Path("runs", parsed.name)
            _check_writable(out)
        place = run.Place(data, out, valid, resume, overwrite)
        with exit_2_on(DataError, RunError):
            with _told_once():
                settings = _settings(ctx, out if resume else None, given)
            try:
                result = run.train(parsed, place, settings, click.echo)
            except distributed.ElsewhereError:  # the process that has the error tells it
                raise SystemExit(2) from None
        if not distributed.is_silent():
            report.show(result, out)


@contextmanager
def _interrupts_told() -> Iterator[None]:
    """Ctrl-C says where the run can go on; the first of several processes does."""
    try:
        yield
    except KeyboardInterrupt as interrupted:
        if not int(os.environ.get("RANK", "0")):
            where = str(interrupted) or "--resume goes on from the last checkpoint, if there is one"
            click.echo(f"interrupted. {where}", err=True)
        raise click.Abort from None


@contextmanager
def _told_once() -> Iterator[None]:
    """Of several processes on a machine, which read the same files, the first tells an error."""
    try:
        yield
    except Exception:
        if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["LOCAL_RANK"]):
            raise SystemExit(2) from None
        raise


def _settings(ctx: click.Context, resumed: Path | None, given: dict[str, Any]) -> Settings:
    """What the flags say; of a run that goes on, what it was started with where they are silent."""
    from homespec.train.run_dir import stored_settings
    from homespec.train.settings import Settings

    stored = stored_settings(resumed) if resumed else None
    if stored is None:
        return Settings(**given)
    silent = {n for n in given if ctx.get_parameter_source(n) is ParameterSource.DEFAULT}
    return Settings(**{n: getattr(stored, n) if n in silent else v for n, v in given.items()})


def _check_writable(out: Path) -> None:
    """Raise UsageError before the long work if its result could not be written."""
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise click.UsageError(f"Cannot write to `{out}`: `{there}` is no folder to write to.")
