"""Training: notes before a run begins: on its settings, rows and spec."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from homespec.compiler import validate_document
from homespec.diagnostics import Severity
from homespec.train.datamodule import Rows
from homespec.train.distributed import world_size
from homespec.train.patterns import rate_rule
from homespec.train.settings import Settings, flag, total_steps

if TYPE_CHECKING:
    from homespec.api import LoadedSpec


OF_START = ("init_spec", "init_moments", "new_choice", "new_input", "new_row")
"""Settings that only matter with `init_from`."""


def idle(settings: Settings, of_epoch: int) -> Iterator[str]:
    """Settings that have no effect, or less than expected; an epoch has `of_epoch` steps."""
    steps, most = total_steps(settings, of_epoch), settings.max_steps
    if most is not None and steps < most:
        yield (
            f"the run ends after the {steps} steps of --epochs {settings.epochs}, before"
            f" --max-steps {most}: --epochs {math.ceil(most / of_epoch)} takes them all"
        )
    if settings.table_optimizer == "adam" and settings.table_lr != Settings.table_lr:
        yield "--table-lr has no effect without --table-optimizer adagrad"
    if settings.init_from is None:
        for name in OF_START:
            if getattr(settings, name) is not None:
                yield f"{flag(name)} has no effect without --init-from"
        zero = any(not rate_rule(each).number for each in settings.lr_of)
        for name in ("--freeze",) * bool(settings.freeze) + ("--lr-of with rate 0",) * zero:
            yield f"without --init-from, {name} keeps initial weights that never learn"
    if settings.half_life is not None and settings.schedule != "exponential":
        yield "--half-life has no effect without --schedule exponential"
    if settings.merge_tables and not settings.optimize:
        yield "--merge-tables has no effect with --no-optimize"
    if settings.warmup_steps >= steps:
        yield (
            f"the run has {steps} steps, not more than --warmup-steps {settings.warmup_steps},"
            " so the learning rate only rises"
        )


def few_steps(settings: Settings, rows: int, processes: int = 1) -> str | None:
    """A note on a run that takes too few steps to learn well, but has enough rows for more."""

    def steps_of(batch_size: int) -> int:
        return total_steps(settings, rows // batch_size)

    steps, smaller = steps_of(settings.batch_size), settings.batch_size
    while smaller // 2 >= SMALL_BATCH and steps_of(smaller) < FEW_STEPS:
        smaller //= 2
    smaller -= smaller % processes
    more = steps_of(smaller)
    if steps >= FEW_STEPS or more < ENOUGH_STEPS or more == steps:
        return None
    return (
        f"{steps} steps are few to learn from: `--batch-size {smaller}` makes {more} of the same "
        "rows and usually learns more (docs/learning-rates.md)"
    )


FEW_STEPS = 400
"""Number of steps below which there is a note; docs/learning-rates.md explains it."""
ENOUGH_STEPS = 200
"""Largest number of steps with which too few rows for the rule are recognised."""
SMALL_BATCH = 128
"""Smallest batch that is proposed; smaller ones are noisier and take longer."""


def described(rows: Rows) -> str:
    """The numbers of rows, their source, and the number that an epoch leaves out."""
    stream = rows.training(epoch=0)
    memory = "" if rows.train.held is not None else " (read from the files each epoch)"
    dealt = f", dealt to {world_size()} processes" if world_size() > 1 else ""
    left = ""
    if count := stream.left_out:
        which = "rows that do" if count > 1 else "row that does"
        left = f"; each epoch leaves out {count} {which} not fill a batch of {stream.batch_size}"
    return (
        f"{rows.train.source.rows:,} training rows{memory}, {rows.valid.source.rows:,} held out"
        f"{left}{dealt}"
    )


def warned(spec: LoadedSpec) -> str | None:
    """A line with the number of warnings about a spec, and how to see them."""
    document = spec.analysis.document
    diagnostics = validate_document(document)
    count = sum(each.rule.severity is Severity.WARNING for each in diagnostics)
    if not count:
        return None
    sets = (f"--set={flag}" for flag in document.overrides)
    shown = shlex.join(["homespec", "validate", document.file, *sets])
    return f"{count} warning{'s' if count > 1 else ''} about the spec: {shown}"
