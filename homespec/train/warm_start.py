"""Training: starts a run from the weights of another one, carried over to its spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from homespec.api import LoadedSpec, load
from homespec.migration.report import plan_lines, restarts
from homespec.train import RunError, checkpoint
from homespec.train.checkpoint_checks import Json
from homespec.train.migrate import Migration
from homespec.train.settings import Settings, from_json
from homespec.train.source import last_state, read
from homespec.train.spec_check import differences
from homespec.train.tensor_bytes import digest


@dataclass(frozen=True)
class WarmStart:
    """The start of a run. In `RankingModule.start`, the tensors have been dropped."""

    weights: dict[str, Tensor]
    """All weights of the model by logical name."""
    moments: dict[str, Tensor]
    """Moments by `MOMENT/LOGICAL NAME`; empty if the optimiser starts without them."""
    new: frozenset[str]
    """Logical names of weights that are not carried over completely."""
    rows: Mapping[str, tuple[range, ...]]
    """For weights that are carried over in part, the positions on the first axis that are."""
    lines: tuple[str, ...]
    """Messages for the user on carried and dropped weights."""
    about: Json
    """The origin of the weights, and their digest, for the files of the run."""


def warm_start(spec: LoadedSpec, settings: Settings, fresh: Mapping[str, Tensor]) -> WarmStart:
    """The start from `settings.init_from` for the model of `spec`, whose initial state is `fresh`.

    Raises RunError for weights that cannot be used, OpenChoiceError if the settings do not choose
    how a new part starts, and SpecError for errors in the spec of the weights.
    """
    assert settings.init_from is not None
    path = Path(settings.init_from)
    if not path.exists():
        raise RunError(f"--init-from {path} does not exist")
    old = None if settings.init_spec is None else load(settings.init_spec).analysis
    with_moments, remarks = _moments_wanted(path, spec, settings)
    source = read(path, old, moments=with_moments, flag="--init-spec")
    migration = Migration.of(source, spec.analysis)
    given = {
        "choice": settings.new_choice, "input": settings.new_input, "row": settings.new_row
    }  # fmt: skip
    starts = migration.starts(given)
    what = "the weights and the optimiser's moments" if with_moments else "the weights"
    lines = [
        f"starting from {what} in {source.path}",
        *plan_lines(migration.comparison),
        *(f"warning: {line}" for line in restarts(migration.comparison)),
        *remarks,
    ]
    about = {
        "path": settings.init_from,
        "spec": source.spec.spec.name,
        "weights_sha256": digest(source.weights),
        "moments": with_moments,
    }
    plan = migration.comparison.plan
    return WarmStart(
        weights=migration.weights(fresh, starts),
        moments=migration.moments() if with_moments else {},
        new=frozenset(one.tensor.name for one in plan.of("new", "resized")),
        rows={
            one.tensor.name: tuple(range(run.new, run.new + run.size) for run in one.runs[0])
            for one in plan.of("resized")
        },
        lines=tuple(lines),
        about=about,
    )


def _moments_wanted(path: Path, spec: LoadedSpec, settings: Settings) -> tuple[bool, list[str]]:
    """Whether moments are carried over and, if the settings leave that open, why not."""
    if settings.init_moments is not None:
        return settings.init_moments, []
    state = last_state(path)
    if state is None:
        return False, []
    why = _why_not(state, spec, settings)
    return not why, [f"without the optimiser's moments: {why}"] if why else []


def _why_not(state: Json, spec: LoadedSpec, settings: Settings) -> str:
    """The reason not to use the moments of a run's last checkpoint; empty if there is none."""
    if differences(state["model"], spec.analysis):
        return "they belong to another spec (--init-moments carries over those that fit)"
    if not checkpoint.last_is_best(state):
        last, best = checkpoint.progress(state), state["history"]["best"]
        return (
            f"the run has them {last}, and its best epoch is {best} (--init-moments starts there)"
        )
    before = from_json(state["settings"])
    if before.table_optimizer != settings.table_optimizer:
        return f"they belong to --table-optimizer {before.table_optimizer}"
    adams = {before.optimizer, settings.optimizer} <= {"adam", "adamw"}  # with the same moments
    if before.optimizer != settings.optimizer and not adams:
        return f"they belong to --optimizer {before.optimizer}"
    return ""


def check_apart(settings: Settings, out: Path) -> None:
    """Raise RunError if a run would remove the weights that it starts from."""
    if settings.init_from is None:
        return
    source, own = Path(settings.init_from).resolve(), out.resolve()
    if source == own or own in source.parents:
        raise RunError(
            f"--init-from {settings.init_from} is in the folder of this run, {out}, so the run "
            "would replace it: give another --out"
        )
