"""Command line: `homespec migrate`, the weights of one spec for the model of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from homespec.cli.errors import needing
from homespec.cli.exit_codes import FINDINGS, OK, TROUBLE
from homespec.cli.specs import one_analysis
from homespec.diagnostics.render.terminal import printable

if TYPE_CHECKING:
    from homespec.compiler import Analysis
    from homespec.diff.compare import Comparison
    from homespec.migrate.files import Stored
    from homespec.migrate.weights import Starts

CHOICES = {
    "choice": ("closed", "mean", "fresh"),
    "input": ("zero", "fresh"),
    "row": ("fresh", "mean"),
}


@click.command(short_help="Carry weights over to another spec.")
@click.argument("weights", type=click.Path(exists=True, path_type=Path))
@click.option("--from", "old", required=True, metavar="OLD", help="The spec that was trained.")
@click.option("--to", "new", required=True, metavar="NEW", help="The spec that gets the weights.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path),
    help="File to write, with --moments a folder.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--moments", is_flag=True, help="Of a run: carry over the optimiser's moments, too.")
@click.option(
    "--new-choice", type=click.Choice(CHOICES["choice"]),
    help="How gates weigh experts that are new: not (closed), as others on average, or fresh.",
)  # fmt: skip
@click.option(
    "--new-input", type=click.Choice(CHOICES["input"]),
    help="How layers read what is new: not (zero), or fresh.",
)  # fmt: skip
@click.option(
    "--new-row", type=click.Choice(CHOICES["row"]),
    help="How rows start that a table did not have: fresh, or as the mean of the others.",
)  # fmt: skip
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1),
    help="Of weights that start fresh.",
)  # fmt: skip
def migrate(
    weights: Path, old: str, new: str, out: Path | None, dry_run: bool, moments: bool,
    new_choice: str | None, new_input: str | None, new_row: str | None, seed: int,
) -> int:  # fmt: skip
    """Write the WEIGHTS of the spec OLD as those of NEW.

    WEIGHTS is a safetensors file by logical name, or the folder of a run, of which the weights of
    the best epoch are taken. What both models have is kept, by name; `homespec diff OLD NEW` says
    what that is. What cannot be kept as it is, is named, and how it starts is yours to say: closed
    gates and columns of zero leave the outputs of tasks as they were.
    """
    from homespec.diff.compare import compare

    if not dry_run and (out is None or not out.name):
        raise click.UsageError("Give --out, a file to write, or --dry-run.")
    if old == new == "-":
        raise click.UsageError("stdin holds one spec: name the other one.")
    before, after = one_analysis(old), one_analysis(new)
    if before is None or after is None:
        return FINDINGS
    comparison = compare(before, after)
    given = {"choice": new_choice, "input": new_input, "row": new_row}
    with needing("torch"):
        from homespec.migrate.files import MigrationError, check_fits, read
    try:
        stored = read(weights, moments)
        check_fits(stored, comparison.plan)
        _print_plan(comparison, dry_run)
        if missing := _missing(comparison, given):
            for line in missing:
                click.echo(f"error: {line}", err=True)
            return TROUBLE
        if out is not None and not dry_run:
            _write(after, comparison, stored, out, _starts(given), seed)
    except MigrationError as error:
        click.echo(f"error: {printable(str(error))}", err=True)
        return FINDINGS
    return OK


def _print_plan(comparison: Comparison, dry_run: bool) -> None:
    """The summary, then by name what is not kept as it is; what is new in a dry run alone."""
    from homespec.diff.summary import lines, summarise

    for line in lines(summarise(comparison)):
        click.echo(printable(line))
    for kind in ("resized", "new") if dry_run else ("resized",):
        for carried in comparison.plan.of(kind):
            was = f", was {list(carried.old.shape)}" if carried.old else ""
            span = carried.tensor.node.span
            place = f"{printable(span.file)}:{span.start.line}"
            click.echo(
                f"  {kind:8} {carried.tensor.name} {list(carried.tensor.shape)}{was}  {place}"
            )
    for tensor in comparison.plan.dropped:
        click.echo(f"  dropped  {tensor.name} {list(tensor.shape)}")


def _missing(comparison: Comparison, given: dict[str, str | None]) -> list[str]:
    """The options that must be given and are not."""
    from homespec.migrate.choices import SAYS, open_choices

    return [
        f"{one.names[0]} {SAYS[one.option]}"
        + (f", and so do {len(one.names) - 1} others" if len(one.names) > 1 else "")
        + f": say how that starts with --new-{one.option} {'|'.join(CHOICES[one.option])}"
        for one in open_choices(comparison.plan)
        if given[one.option] is None
    ]


def _write(
    new: Analysis, comparison: Comparison, stored: Stored, out: Path, starts: Starts, seed: int
) -> None:
    from homespec.migrate.files import write
    from homespec.migrate.run import migrated

    weights, moments = migrated(new, comparison.plan, stored, starts, seed)
    write(out, weights, moments, {"spec": new.spec.name})
    click.echo(f"wrote {printable(str(out))}", err=True)


def _starts(given: dict[str, str | None]) -> Starts:
    """What is given; click has held it against CHOICES, which are the literals of the fields."""
    from homespec.migrate.weights import Starts

    return Starts(**{option: start for option, start in given.items() if start})  # type: ignore[arg-type]
