"""Command line: options that choose a variant, or that show its passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from homespec.variant import Mode, Target, Variant, check_pass, variant

if TYPE_CHECKING:
    from homespec.passes import Step

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--mode",
        type=click.Choice(get_args(Mode)),
        default="training",
        show_default=True,
        help="inference folds batch norm and drops everything that only training needs.",
    ),
    click.option(
        "--tasks",
        multiple=True,
        metavar="TASK,…",
        help="Keep only what these tasks need. May be repeated.",
    ),
    click.option(
        "--user-features",
        multiple=True,
        metavar="FEATURE,…",
        help="Take these features once for all rows, which are one user's candidates. Needs --mode "
        "inference. May be repeated.",
    ),
    click.option(
        "--target",
        type=click.Choice(get_args(Target)),
        default="portable",
        show_default=True,
        help="cuda gives feature gates a Triton kernel, which no GPU has run yet.",
    ),
    click.option(
        "--skip-pass",
        "skip",
        multiple=True,
        metavar="PASS",
        help="Switch a pass off. May be repeated.",
    ),
    click.option(
        "--print-after", metavar="PASS", help="Write nothing; print the graph after a pass."
    ),
    click.option(
        "--time-passes",
        is_flag=True,
        help="Print to stderr how long each pass took and what it did.",
    ),
)


def variant_options(command: F) -> F:
    """The options that choose a variant or show its passes."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def variant_of(
    no_optimize: bool, mode: str, tasks: tuple[str, ...], user_features: tuple[str, ...],
    target: str, skip: tuple[str, ...],
) -> Variant:  # fmt: skip
    """The requested variant. Raises UsageError."""
    try:
        return variant(
            optimize=not no_optimize, mode=mode, tasks=tasks or None, skip=skip, target=target,
            user_features=user_features or None,
        )  # fmt: skip
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None


class Watch:
    """Prints the graph after a pass, and the times of the passes of each spec."""

    def __init__(self, print_after: str | None, timed: bool) -> None:
        self.print_after = print_after
        self.timed = timed
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        """Called when a pass has run."""
        self.steps.append(step)
        if step.name == self.print_after:
            from homespec.drawing import as_text

            click.echo(as_text(step.after), nl=False)

    def done(self, file: str) -> None:
        """Called when all passes of a spec have run.

        Raises ValueError if the pass to print after is unknown.
        """
        steps, self.steps = self.steps, []
        if self.print_after is not None:
            check_pass(self.print_after, [step.name for step in steps])
        if self.timed:
            click.echo(f"{file}\n{times(steps)}", err=True)


def times(steps: list[Step]) -> str:
    """Passes, their milliseconds, and the numbers of nodes before and after them."""
    rows = [("pass", "ms", "nodes")]
    for step in steps:
        nodes = f"{len(step.before)} -> {len(step.after)}"
        rows.append((step.name, f"{step.seconds * 1e3:.2f}", nodes))
    rows.append(("all", f"{sum(step.seconds for step in steps) * 1e3:.2f}", ""))
    wide = max(len(name) for name, _, _ in rows)
    return "\n".join(f"  {n:<{wide}}  {ms:>8}  {nodes}".rstrip() for n, ms, nodes in rows)
