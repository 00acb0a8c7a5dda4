"""Command line: `homespec migrate`, which carries weights over to the model of another spec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from homespec.cli.errors import in_lines, needing
from homespec.cli.exit_codes import FINDINGS, OK, TROUBLE
from homespec.cli.reporting import Command
from homespec.cli.specs import one_analysis
from homespec.diagnostics.render.terminal import printable
from homespec.train.settings import FLAGS, flag

if TYPE_CHECKING:
    from homespec.compiler import Analysis


def choice_option(name: str) -> Callable[[Command], Command]:
    """The option of `train` with this name."""
    known = FLAGS[name]
    return click.option(flag(name), type=click.Choice(known.choices), help=known.help)


@click.command(short_help="Carry weights over to another spec.")
@click.argument("weights", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--from", "old", metavar="OLD",
    help="The spec that was trained. A run holds its own.",
)  # fmt: skip
@click.option("--to", "new", required=True, metavar="NEW", help="The spec that gets the weights.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path),
    help="File to write; with --moments, a folder.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option(
    "--moments", is_flag=True, help="If WEIGHTS is a run: also carry over the optimiser's moments."
)
@choice_option("new_choice")
@choice_option("new_input")
@choice_option("new_row")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1),
    help="Seed of weights that start fresh.",
)  # fmt: skip
def migrate(
    weights: Path, old: str | None, new: str, out: Path | None, dry_run: bool, moments: bool,
    new_choice: str | None, new_input: str | None, new_row: str | None, seed: int,
) -> int:  # fmt: skip
    """Write the WEIGHTS of the spec OLD as those of NEW.

    WEIGHTS is a safetensors file by logical name, or the folder of a run, which means the weights
    of its best epoch. Weights that both models have are kept, by name; `homespec diff OLD NEW`
    lists them. Weights that cannot be kept are reported, and options say how they start: closed
    gates and columns of zero leave the outputs of tasks unchanged.
    """
    if not dry_run and (out is None or not out.name):
        raise click.UsageError("Give --out, a file to write, or --dry-run.")
    if old is None and weights.is_file():
        raise click.UsageError(f"Give --from: `{weights}` does not say which spec it belongs to.")
    if old == new == "-":
        raise click.UsageError("stdin holds one spec: name the other one.")
    before, after = None if old is None else one_analysis(old), one_analysis(new)
    if after is None or (old is not None and before is None):
        return FINDINGS
    with needing("train"):
        from homespec.memory import OutOfMemoryError
        from homespec.train import RunError
        from homespec.train.migrate import OpenChoiceError
    try:
        given = {"choice": new_choice, "input": new_input, "row": new_row}
        _carry(weights, before, after, None if dry_run else out, moments, given, seed)
    except (OpenChoiceError, OutOfMemoryError) as error:
        for line in in_lines(error).splitlines():
            click.echo(f"error: {line}", err=True)
        return TROUBLE
    except RunError as error:
        click.echo(f"error: {in_lines(error)}", err=True)
        return FINDINGS
    return OK


def _carry(
    weights: Path, old: Analysis | None, new: Analysis, out: Path | None, moments: bool,
    given: dict[str, str | None], seed: int,
) -> None:  # fmt: skip
    """Print the plan and, unless it is a dry run, carry it out."""
    from homespec.migration.report import plan_lines, restarts
    from homespec.train.migrate import Migration, carry_out
    from homespec.train.source import read

    migration = Migration.of(read(weights, old, moments=moments, flag="--from"), new)
    comparison = migration.comparison
    for line in plan_lines(comparison, ("resized", "new") if out is None else ("resized",)):
        click.echo(line)
    for line in (*restarts(comparison), *migration.losses()):
        click.echo(f"warning: {line}", err=True)
    starts = migration.starts(given)
    if out is not None:
        carry_out(migration, starts, seed).write(out)
        click.echo(f"wrote {printable(str(out))}", err=True)
