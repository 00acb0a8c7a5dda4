"""Drafting: the commands that lead from a drafted spec to a first AUC."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from homespec.drafting.draft import Draft

MANY_STEPS = 400
"""Minimum number of steps of a run; batches are made smaller to reach it."""
EPOCHS = 3
ONE_EPOCH = 20_000
"""With more distinct ids, a second pass memorises single ids."""
BATCHES = (1024, 512, 256, 128, 64, 32, 16, 8, 4, 2)


@dataclass(frozen=True)
class Place:
    """The paths of training and held-out rows; `valid` is empty if `data` has both."""

    data: tuple[Path, ...]
    valid: tuple[Path, ...] = ()

    @property
    def flags(self) -> str:
        """The paths as arguments of `train`."""
        flags = [f"--data {quoted(path)}" for path in self.data]
        return " ".join([*flags, *(f"--valid {quoted(path)}" for path in self.valid)])


def quoted(path: Path) -> str:
    """A path as an argument of a shell."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def steps_of(draft: Draft, spec: Path, place: Place, rows: int) -> list[str]:
    """The commands; `rows` is the number of training rows."""
    check = ["homespec check-data", quoted(spec), *map(quoted, place.data)]
    check += [f"--valid {quoted(path)}" for path in place.valid]
    train = ["homespec train", quoted(spec), place.flags, *settings(draft, rows)]
    return [" ".join(check), " ".join(train)]


def settings(draft: Draft, rows: int) -> list[str]:
    """The flags of a first run."""
    many = max((_values(choice.options) for choice in draft.features), default=0)
    epochs = 1 if many >= ONE_EPOCH else EPOCHS
    batch = next((b for b in BATCHES if epochs * rows >= MANY_STEPS * b and rows >= b), 0)
    if batch < 128:  # more noise than it gains, unless there is no full batch
        batch = next((b for b in (128, *BATCHES) if b <= 128 and rows >= b), 2)
    flags = [f"--epochs {epochs}"] if epochs > 1 else []
    flags += [f"--batch-size {batch}"] if batch != BATCHES[0] else []
    if draft.user:
        flags.append(f"--gauc-by {shlex.quote(draft.user)}")
    return flags


def _values(options: dict[str, object]) -> int:
    table = options.get("id")
    buckets = table.get("buckets", 0) if isinstance(table, dict) else 0
    return int(buckets)
