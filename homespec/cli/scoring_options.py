"""Command line: options, progress and errors that `predict` and `evaluate` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from homespec.cli.errors import exit_2_on
from homespec.cli.progress import progress_bars
from homespec.diagnostics.render.terminal import printable
from homespec.variant import split_names

if TYPE_CHECKING:
    from homespec.scoring.rows import Progress

F = TypeVar("F", bound=Callable[..., Any])
PATHS = click.Path(path_type=Path)


def names(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """The names of an option that takes several, separated by commas, and may be repeated."""
    return split_names(given)


DATA = click.option(
    "--data", required=True, multiple=True, type=PATHS,
    help="Files (.parquet, .csv, .csv.gz) or folders of them. May be repeated.",
)  # fmt: skip
TASKS = click.option(
    "--tasks", callback=names, multiple=True, metavar="TASK,TASK,…", help="Only these tasks.",
)  # fmt: skip
_OPTIONS = (
    click.option(
        "--best/--last", "best", default=True,
        help="Weights of the best epoch, or of the last checkpoint.  [default: best]",
    ),
    click.option(
        "--precision", type=click.Choice(["float32", "bf16"]), default="float32",
        show_default=True, help="bf16 computes in bfloat16.",
    ),
    click.option(
        "--compile/--no-compile", "compile", default=False,
        help="Use torch.compile, which takes a while to start.  [default: no]",
    ),
    click.option(
        "--device", type=click.Choice(["cpu", "cuda"]),
        help="Device to run on. [default: cuda if there is a GPU]",
    ),
    click.option(
        "--spec", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The spec of a run whose folder has no spec.yaml.",
    ),
)  # fmt: skip


def model_options(batch_size: str) -> Callable[[F], F]:
    """How the model of a run is loaded and run; `batch_size` describes the default."""
    size = click.option(
        "--batch-size", type=click.IntRange(1),
        help=f"Number of rows to score at a time.  [default: {batch_size}]",
    )  # fmt: skip

    def add(command: F) -> F:
        for option in reversed((size, *_OPTIONS)):
            command = option(command)
        return command

    return add


def as_options(best: bool, given: dict[str, Any]) -> dict[str, Any]:
    """The options of `homespec.predict` and `homespec.evaluate`."""
    return given | {"checkpoint": "best" if best else "last"}


@contextmanager
def explaining() -> Iterator[None]:
    """Report mistakes of the user in one line, with exit code 2."""
    from homespec.data import DataError
    from homespec.memory import OutOfMemoryError
    from homespec.scoring import ScoringError
    from homespec.train import RunError
    from homespec.variant import UnknownNameError

    with exit_2_on(DataError, RunError, ScoringError, OutOfMemoryError):
        try:
            yield
        except UnknownNameError as error:
            raise click.BadParameter(printable(str(error)), param_hint="'--tasks'") from None


class Speed:
    """Number of rows completed since the first of them began."""

    def __init__(self) -> None:
        self.rows, self._started = 0, time.perf_counter()

    def note(self, done: int) -> None:
        """Report the number of completed rows; 0 starts the clock."""
        if not done:
            self._started = time.perf_counter()
        self.rows = done

    def __str__(self) -> str:
        """Print a line for the user."""
        seconds = time.perf_counter() - self._started
        rows = f"{self.rows:,} row{'' if self.rows == 1 else 's'}"
        return f"{rows} in {seconds:.1f} s, {self.rows / seconds:,.0f} rows/s"


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on stderr, if that is a terminal; at the end, a line with the speed."""
    speed, advance = Speed(), None
    with progress_bars() as begin:

        def note(done: int, total: int) -> None:
            nonlocal advance
            advance = advance or begin("rows", total)
            advance(done - speed.rows)
            speed.note(done)

        yield note
    click.echo(str(speed), err=True)
