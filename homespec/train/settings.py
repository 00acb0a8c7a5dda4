"""Training: how to train, and which of it a run may change when it goes on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

from homespec.train import RunError

SHUFFLE_ROWS = 262_144
CHECKPOINT_EVERY = 2000

CHOICES = {
    "schedule": ("constant", "cosine", "linear"),
    "optimizer": ("adam", "adamw"),
    "table_optimizer": ("adam", "adagrad"),
    "weighting": ("fixed", "uncertainty", "gradnorm", "pcgrad", "cagrad"),
    "precision": ("float32", "bf16"),
}

RANGES = {
    "lr": (1e-12, 1000),
    "table_lr": (1e-12, 1000),
    "weight_decay": (0, 1000),
    "clip": (1e-9, 1_000_000_000),
}
"""What these settings may be, inside of what float32 can hold: a smaller rate changes no weight, a
greater one makes weights infinite at the first step. homespec's own limits."""

CHOSEN = ("compile", "merge_tables")
"""What a run chooses by itself where it is None."""


@dataclass(frozen=True)
class Settings:
    """How to train. The flags of `homespec train` have the same names and say more.

    Raises ValueError for a word that is none of CHOICES and a number outside of RANGES.
    """

    epochs: int = 1
    batch_size: int = 1024
    """Rows of a batch, of all processes together."""
    lr: float = 3e-3
    weight_decay: float = 0.0
    warmup_steps: int = 0
    schedule: str = "constant"
    """constant, or a cosine or line down to 0 at the end of the last epoch."""
    clip: float | None = None
    """The norm to which gradients are clipped."""
    optimizer: str = "adam"
    table_optimizer: str = "adam"
    """adam: as one of all weights; adagrad: of the rows of a batch alone, an accumulator a row."""
    table_lr: float = 0.05
    """The learning rate of adagrad for tables."""
    weighting: str = "fixed"
    seed: int = 0
    precision: str = "float32"
    compile: bool | None = None
    """None: where it can work."""
    optimize: bool = True
    """False trains the readable twin: one module for each expert."""
    merge_tables: bool | None = None
    """Tables of one width are one tensor, which takes one look-up; False leaves each by itself.
    None: where that is faster."""
    workers: int = 0
    shuffle_rows: int = SHUFFLE_ROWS
    """Rows of the buffer in which rows are shuffled; 0 keeps the order of the files."""
    limit_rows: int | None = None
    """Use the first rows only."""
    gauc_by: str | None = None
    """The column of users, for GAUC."""
    monitor: str | None = None
    """The metric that says which epoch is best. None: AUC if there is a binary task, else MAE."""
    patience: int | None = None
    """Stop after so many epochs in a row that were not the best. None: never."""
    checkpoint_every: int = CHECKPOINT_EVERY
    """Steps between checkpoints inside an epoch; 0: only at the end of each epoch."""

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not {' or '.join(choices)}")
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name} is {value}, not in the range {least:g} to {most:g}")


FIXED = (
    "batch_size", "seed", "shuffle_rows", "limit_rows", "optimizer", "table_optimizer",
    "weighting", "gauc_by", "monitor",
)  # fmt: skip
"""What a checkpoint's position, moments and history depend on; the rest may change on resuming."""


def flag(name: str) -> str:
    """How the command line calls a setting."""
    return f"--{name.replace('_', '-')}"


LEAST = {
    "epochs": 1, "batch_size": 2, "warmup_steps": 0, "workers": 0, "shuffle_rows": 0, "seed": 0,
    "limit_rows": 2, "patience": 1, "checkpoint_every": 0, "lr": 0, "table_lr": 0, "clip": 0,
    "weight_decay": 0,
}  # fmt: skip
"""The smallest values of numbers."""


def from_json(stored: Mapping[str, Any]) -> Settings:
    """The settings of a run folder; what it does not know has its default.

    Raises ValueError for a value of another type, or out of range.
    """
    hints = get_type_hints(Settings)
    known = {name: value for name, value in stored.items() if name in hints}
    for name, value in known.items():
        types = get_args(hints[name]) or (hints[name],)
        least = LEAST.get(name)
        if not any(_is(value, each) for each in types):
            raise ValueError(f"{name} is {value!r}, not {' or '.join(map(_type, types))}")
        if least is not None and value is not None and not least <= value < math.inf:
            raise ValueError(f"{name} is {value}, not a number from {least} on")
    return Settings(**known)


def _is(value: object, kind: type) -> bool:
    return type(value) is kind or (kind is float and type(value) is int)


def _type(kind: type) -> str:
    return "null" if kind is NoneType else kind.__name__


def changes(before: Settings, now: Settings) -> Iterator[str]:
    """What may change and does, as lines for the user. Raises RunError for what may not."""
    for name in (field.name for field in dataclasses.fields(Settings)):
        old, new = getattr(before, name), getattr(now, name)
        if old == new:
            continue
        if name in FIXED:
            raise RunError(
                f"the run was started with {_told(name, old)}, not {_told(name, new)}: resume it"
                " with the same, or start another run in another --out"
            )
        yield f"{_told(name, new)} in place of {_told(name, old)}"


def idle(settings: Settings, steps: int) -> Iterator[str]:
    """What is asked for and has no effect, or less than it should; `steps` are those of the run."""
    if settings.table_optimizer == "adam" and settings.table_lr != Settings.table_lr:
        yield "--table-lr has no effect without --table-optimizer adagrad"
    if settings.merge_tables and not settings.optimize:
        yield "--merge-tables has no effect with --no-optimize"
    if settings.warmup_steps >= steps:
        yield (
            f"the run has {steps} steps, not more than --warmup-steps {settings.warmup_steps}:"
            " the learning rate only rises"
        )


def check_processes(batch_size: int, processes: int) -> None:
    """Raise RunError if batches cannot be dealt to so many processes, two rows at least to each."""
    if batch_size % processes or batch_size < 2 * processes:
        fewest = 2 * processes
        near = max(fewest, round(batch_size / processes) * processes)
        raise RunError(
            f"--batch-size {batch_size} is of all {processes} processes together and cannot be"
            f" dealt to them: give a multiple of {processes} from {fewest} on, such as {near}"
        )


def _told(name: str, value: object) -> str:
    if isinstance(value, bool):
        return flag(name if value else f"no_{name}")
    if value is None:
        return f"{'its own choice of' if name in CHOSEN else 'no'} {flag(name)}"
    return f"{flag(name)} {value}"
