"""Training: the settings of training, and which of them a resumed run may change.

Each setting is a field of `Settings`, with its default, its limits and its help. The flags of
`homespec train`, the settings file of a run and `train` in Python use these definitions.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from homespec.migration.starts import CHOICES
from homespec.train import RunError
from homespec.train.patterns import penalty_rule, rate_rule

T = TypeVar("T")
Group = Literal["Model", "Data", "Start", "Learning", "Machine", "Run"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True)
class Flag:
    """Properties of a setting besides its type and default."""

    group: Group
    """Its heading in the command's help."""
    help: str
    choices: tuple[str, ...] = ()
    least: float | None = None
    """The minimum of a number; `most` is the maximum of a float."""
    most: float | None = None
    metavar: str | None = None
    automatic: str = ""
    """The meaning of None, if a run then chooses."""
    parse: Callable[[str], object] | None = None
    """Parses each text of a tuple, and raises ValueError for an invalid one."""
    fixed: bool = False
    """Whether it is fixed in a resumed run, because position, moments or history depend on it."""


def setting(default: T, group: Group, help: str, **limits: Any) -> T:  # noqa: A002
    """A field of `Settings`."""
    made: T = field(default=default, metadata={"flag": Flag(group, help, **limits)})
    return made


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of training, which are also the flags of `homespec train`.

    The limits of floats are homespec's own, within the range of float32: a smaller rate would not
    change weights, a greater one would make them infinite at the first step. Raises ValueError for
    a value outside of the limits.
    """

    optimize: bool = setting(
        True, "Model", "--no-optimize trains the readable twin: one module for each expert."
    )
    batch_size: int = setting(
        1024,
        "Data",
        "Number of rows of a batch, over all processes; in training, rows that do not fill the "
        "last batch are left out.",
        least=2,
        fixed=True,
    )
    shuffle_rows: int = setting(
        262_144,
        "Data",
        "Size of the shuffle buffer in rows; 0 keeps the order of the files.",
        least=0,
        fixed=True,
    )
    limit_rows: int | None = setting(None, "Data", "Use only the first rows.", least=2, fixed=True)
    workers: int = setting(
        0,
        "Data",
        "Number of processes that read rows if they do not fit into memory; 0 uses a thread.",
        least=0,
    )
    init_from: str | None = setting(
        None,
        "Start",
        "Start from the weights of this run or safetensors file, carried over to SPEC.",
        metavar="RUN|FILE",
        fixed=True,
    )
    init_spec: str | None = setting(
        None,
        "Start",
        "The spec of those weights. A run holds its own.",
        metavar="FILE",
        fixed=True,
    )
    init_moments: bool | None = setting(
        None,
        "Start",
        "Also carry over the optimiser's moments, and use the weights of the last epoch, to "
        "which they belong.",
        automatic="yes for a run of the same spec whose last epoch is its best",
        fixed=True,
    )
    new_choice: str | None = setting(
        None,
        "Start",
        "How gates weigh new experts: not at all (closed), like the others on average, or fresh.",
        choices=CHOICES["choice"],
        fixed=True,
    )
    new_input: str | None = setting(
        None,
        "Start",
        "How layers read new inputs: not at all (zero), or fresh.",
        choices=CHOICES["input"],
        fixed=True,
    )
    new_row: str | None = setting(
        None,
        "Start",
        "How new rows of a table start: fresh, or as the mean of the others.",
        choices=CHOICES["row"],
        fixed=True,
    )
    freeze: tuple[str, ...] = setting(
        (),
        "Start",
        "Freeze weights and statistics whose logical names match, such as 'experts.*.watch.*'. "
        "May be repeated.",
        metavar="PATTERN",
        fixed=True,
    )
    epochs: int = setting(1, "Learning", "Number of passes over the rows.", least=1)
    max_steps: int | None = setting(
        None,
        "Learning",
        "Stop after this number of steps, also inside an epoch; --epochs may end the run sooner.",
        least=1,
        metavar="STEPS",
    )
    lr: float = setting(3e-3, "Learning", "Learning rate.", least=1e-12, most=1000)
    lr_of: tuple[str, ...] = setting(
        (),
        "Learning",
        "Learning rate of weights whose logical names match, as a number or a multiple: "
        "'towers.*=1e-3', 'experts.*=0.1x'. 0 freezes them. May be repeated; the last match "
        "counts.",
        metavar="PATTERN=RATE",
        parse=rate_rule,
    )
    warmup_steps: int = setting(
        0, "Learning", "Number of steps over which the learning rate rises from 0.", least=0
    )
    schedule: str | None = setting(
        None,
        "Learning",
        "Schedule of the learning rate after the warm-up: cosine and linear fall to 0 at the "
        "end, exponential halves it every --half-life steps.",
        choices=("constant", "cosine", "linear", "exponential"),
        automatic="linear, or constant if a run has no end",
    )
    half_life: float | None = setting(
        None,
        "Learning",
        "Number of steps in which --schedule exponential halves the learning rate.",
        least=1e-3,
        most=1e12,
        metavar="STEPS",
    )
    weight_decay: float = setting(
        0.0,
        "Learning",
        "Weight decay of matrices: decoupled with adamw, in the gradient with other optimisers.",
        least=0,
        most=1000,
    )
    l2: tuple[str, ...] = setting(
        (),
        "Learning",
        "Add FACTOR/2 times the sum of squared weights to the loss, for matrices whose logical "
        "names match, and for the rows of tables that a batch reads: 'features.*=1e-5'. May be "
        "repeated; the last match counts.",
        metavar="PATTERN=FACTOR",
        parse=penalty_rule,
    )
    l1: tuple[str, ...] = setting(
        (),
        "Learning",
        "Add FACTOR times the sum of absolute weights, in the same way.",
        metavar="PATTERN=FACTOR",
        parse=penalty_rule,
    )
    clip: float | None = setting(
        None, "Learning", "Clip gradients to this norm.", least=1e-9, most=1_000_000_000
    )
    optimizer: str = setting(
        "adam",
        "Learning",
        "Optimiser of all weights except embedding tables.",
        choices=("adam", "adamw", "sgd", "adagrad"),
        fixed=True,
    )
    table_optimizer: str = setting(
        "adam",
        "Learning",
        "Optimiser of embedding tables; adagrad updates only the rows of a batch.",
        choices=("adam", "adagrad"),
        fixed=True,
    )
    table_lr: float = setting(
        0.05, "Learning", "Learning rate of --table-optimizer adagrad.", least=1e-12, most=1000
    )
    weighting: str = setting(
        "fixed",
        "Learning",
        "How the tasks' losses are combined into one gradient.",
        choices=("fixed", "uncertainty", "gradnorm", "pcgrad", "cagrad"),
        fixed=True,
    )
    seed: int = setting(
        0,
        "Learning",
        "Seed of the initial weights and of the order of rows.",
        least=0,
        most=2**32 - 1,
        fixed=True,
    )
    precision: str = setting(
        "float32",
        "Machine",
        "bf16 computes in bfloat16 and keeps weights in float32.",
        choices=("float32", "bf16"),
    )
    compile: bool | None = setting(
        None, "Machine", "Use torch.compile.", automatic="if it can work"
    )
    merge_tables: bool | None = setting(
        None,
        "Machine",
        "Merge embedding tables of the same width into one tensor, which needs only one look-up.",
        automatic="yes, unless a CPU trains tables with adam on batches of 4096 rows or more",
    )
    gauc_by: str | None = setting(
        None,
        "Run",
        "Also measure GAUC, by the users in this column.",
        metavar="COLUMN",
        fixed=True,
    )
    monitor: str | None = setting(
        None,
        "Run",
        "Metric that decides which epoch is best: auc, gauc, logloss, mae or rmse. Over all "
        "tasks, it is the mean weighted by the loss weights.",
        metavar="METRIC[/TASK]",
        automatic="auc, or mae if no task is binary",
        fixed=True,
    )
    weighted_metrics: bool = setting(
        False,
        "Run",
        "Also weight rows in metrics by the sample weights of the spec.",
        fixed=True,
    )
    patience: int | None = setting(
        None, "Run", "Stop after this number of epochs without improvement.", least=1
    )
    watch_experts: bool = setting(
        False,
        "Run",
        "Log measurements of experts and gates after each epoch: those of homespec doctor that "
        "need no loss.",
    )
    checkpoint_every: int = setting(
        2000,
        "Run",
        "Also write a checkpoint every this number of steps; 0 means only after each epoch.",
        least=0,
        metavar="STEPS",
    )

    def __post_init__(self) -> None:
        for name, kind in (("freeze", "patterns"), *((n, "rules") for n in ("lr_of", "l1", "l2"))):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"{name} is {value!r}, not a tuple of {kind}")
            object.__setattr__(self, name, tuple(value))
        for name in ("init_from", "init_spec"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, os.fspath(path))
        for name, flag_ in FLAGS.items():
            if (value := getattr(self, name)) is not None:
                _check(name, value, flag_)


FLAGS: dict[str, Flag] = {each.name: each.metadata["flag"] for each in dataclasses.fields(Settings)}
"""The properties of the settings by name."""


def _check(name: str, value: Any, limits: Flag) -> None:
    least, most = limits.least, limits.most
    if limits.parse:
        for each in value:
            try:
                limits.parse(each)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    if limits.choices and value not in limits.choices:
        raise ValueError(f"{name} is {value!r}, not {' or '.join(limits.choices)}")
    if least is None:
        return
    if most is None and not least <= value < math.inf:
        raise ValueError(f"{name} is {value}, not a number of at least {least:g}")
    if most is not None and not least <= value <= most:
        raise ValueError(f"{name} is {value}, not in the range {least:g} to {most:g}")


def flag(name: str) -> str:
    """The flag of a setting on the command line."""
    return f"--{name.replace('_', '-')}"


def from_json(stored: Mapping[str, Any]) -> Settings:
    """The settings of a run's folder; missing ones have their defaults.

    Raises ValueError for a value of another type, or out of range.
    """
    hints = get_type_hints(Settings)
    known = {name: value for name, value in stored.items() if name in hints}
    for name, value in known.items():
        types = get_args(hints[name]) or (hints[name],)
        if types[-1] is Ellipsis:
            if not isinstance(value, list) or not all(_is(each, types[0]) for each in value):
                raise ValueError(f"{name} is {value!r}, not a list of {_type(types[0])}")
            continue
        if not any(_is(value, each) for each in types):
            raise ValueError(f"{name} is {value!r}, not {' or '.join(map(_type, types))}")
    return Settings(**known)


def _is(value: object, kind: type) -> bool:
    return type(value) is kind or (kind is float and type(value) is int)


def _type(kind: type) -> str:
    return "null" if kind is NoneType else kind.__name__


def changes(before: Settings, now: Settings) -> Iterator[str]:
    """Permitted changes, as lines for the user.

    Raises RunError for changes that are not permitted.
    """
    for name in FLAGS:
        old, new = getattr(before, name), getattr(now, name)
        if old == new:
            continue
        if FLAGS[name].fixed or (name == "lr_of" and _frozen(old, new)):
            raise RunError(
                f"the run was started with {_as_flag(name, old)}, not {_as_flag(name, new)}: "
                "resume it with the same value, or start a new run in another --out"
            )
        yield f"{_as_flag(name, new)} instead of {_as_flag(name, old)}"


def _frozen(old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """Whether two lists of rates may freeze different weights, which have no moments."""
    before, now = ([(r.pattern, not r.number) for r in map(rate_rule, each)] for each in (old, new))
    return any(zero for _, zero in (*before, *now)) and before != now


def total_steps(settings: Settings, of_epoch: int) -> int:
    """Number of steps of a run whose epochs have `of_epoch` steps."""
    of_epochs = settings.epochs * of_epoch
    return of_epochs if settings.max_steps is None else min(of_epochs, settings.max_steps)


def check_processes(batch_size: int, processes: int) -> None:
    """Raise RunError if batches cannot be divided among processes of at least two rows each."""
    if batch_size % processes or batch_size < 2 * processes:
        fewest = 2 * processes
        near = max(fewest, round(batch_size / processes) * processes)
        raise RunError(
            f"--batch-size {batch_size} is the total over all {processes} processes and cannot "
            f"be divided among them: give a multiple of {processes} of at least {fewest}, such "
            f"as {near}"
        )


def _as_flag(name: str, value: object) -> str:
    if isinstance(value, bool):
        return flag(name if value else f"no_{name}")
    if isinstance(value, tuple):
        return " ".join(f"{flag(name)} {each}" for each in value) or f"no {flag(name)}"
    if value is None:
        own = FLAGS[name].automatic and not FLAGS[name].fixed
        return f"{'its own choice of' if own else 'no'} {flag(name)}"
    return f"{flag(name)} {value}"
