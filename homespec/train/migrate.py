"""Training: carries the weights of one spec over to the model of another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from homespec import memory
from homespec.api import LoadedSpec, PathLike, as_loaded
from homespec.atomic_write import replacing
from homespec.compiler import Analysis, generate
from homespec.diff.compare import Comparison, compare
from homespec.migration.choices import unanswered
from homespec.migration.starts import Choice, Input, Row, Starts
from homespec.migration.weights import carried_moments, carried_state
from homespec.runtime import import_source
from homespec.train import RunError
from homespec.train.checkpoint import FOLDER, OPTIMIZER_FILE, WEIGHTS_FILE, writing
from homespec.train.optimizer_state import has_learned, is_of_weighting
from homespec.train.run_files import SPEC_FILE, spec_text
from homespec.train.source import Source, check_fits, read
from homespec.version import __version__

Tensors = Mapping[str, Tensor]


class OpenChoiceError(RunError):
    """Raised if a weight has a new part and the caller does not choose how it starts."""


@dataclass(frozen=True)
class Migration:
    """The transfer of a source's weights to the model of another spec."""

    source: Source
    new: Analysis
    comparison: Comparison

    @classmethod
    def of(cls, source: Source, new: Analysis) -> Migration:
        """Compare the specs. Raises RunError if the weights do not belong to the source's spec."""
        comparison = compare(source.spec, new)
        check_fits(source, comparison.plan)
        return cls(source, new, comparison)

    def starts(self, given: Mapping[str, str | None]) -> Starts:
        """How new parts start, by the options of `Starts`. Raises OpenChoiceError."""
        if missing := unanswered(self.comparison.plan, given):
            raise OpenChoiceError("\n".join(map(str, missing)))
        return Starts.of(given)

    def weights(self, fresh: Tensors, starts: Starts) -> dict[str, Tensor]:
        """The new model's weights; `fresh` is its initial state."""
        return carried_state(self.comparison.plan, self.source.weights, fresh, starts)

    def moments(self) -> dict[str, Tensor]:
        """The moments of the new model, and the state of a weighting if the tasks are the same."""
        moments = carried_moments(self.comparison.plan, self.source.moments)
        if self._has_same_tasks:
            stored = self.source.moments
            moments |= {key: stored[key].clone() for key in stored if is_of_weighting(key)}
        return moments

    @property
    def _has_same_tasks(self) -> bool:
        """Whether the tasks are the same in the same order, ignoring names."""
        before = map(self.comparison.pair.renames.place, self.source.spec.spec.tasks)
        return list(before) == list(self.new.spec.tasks)

    def losses(self) -> Iterator[str]:
        """A line if learned loss weights cannot be carried over because tasks differ."""
        if not self._has_same_tasks and has_learned(self.source.moments):
            yield (
                "learned weights of losses are not carried over, because they belong to other tasks"
            )


@dataclass(frozen=True)
class Migrated:
    """Weights by logical name and moments by `MOMENT/LOGICAL NAME`, for the model of `spec`."""

    spec: Analysis
    comparison: Comparison
    """What the change breaks and keeps; `comparison.plan` has the origin of each weight."""
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    source: Path
    """The file or folder from which the old weights were read."""

    def write(self, out: PathLike) -> None:
        """Write a file, or with moments a folder with the spec, atomically. Raises RunError."""
        path = Path(out)
        _check_replaceable(path, self.source)
        metadata = {"about": json.dumps({"spec": self.spec.spec.name, "homespec": __version__})}
        files = {path: self.weights}
        if self.moments:
            files = {path / WEIGHTS_FILE: self.weights, path / OPTIMIZER_FILE: self.moments}
        texts = {path / SPEC_FILE: spec_text(self.spec)} if self.moments else {}
        with writing(path), replacing(*files, *texts) as temporary:
            for file, tensors in zip(temporary, files.values(), strict=False):
                own = {name: tensor.contiguous() for name, tensor in tensors.items()}
                safetensors.torch.save_file(own, file, metadata=metadata)
            for file, text in zip(temporary[len(files) :], texts.values(), strict=True):
                file.write_text(text, "utf-8")


def carry_out(migration: Migration, starts: Starts, seed: int = 0) -> Migrated:
    """Weights and moments for the new spec's model; fresh parts are drawn with `seed`."""
    new = migration.new
    code = import_source(new.spec.name, generate(new))
    with memory.explained(new, "building"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = code.logical_state(code.Model())
        weights, moments = migration.weights(fresh, starts), migration.moments()
    return Migrated(new, migration.comparison, weights, moments, migration.source.path)


def _check_replaceable(path: Path, source: Path) -> None:
    """Raise RunError instead of overwriting a run, a spec, or the weights that were read."""
    folder = path if path.is_dir() else path.parent
    if (folder / FOLDER).is_dir() and path.exists():
        raise RunError(f"{folder} is the folder of a run: write to another folder")
    if not path.is_file():
        return
    if path.samefile(source):
        raise RunError(f"{path} holds the old weights: write the new ones to another file")
    try:
        with safetensors.safe_open(path, "pt"):
            return
    except (OSError, safetensors.SafetensorError):
        raise RunError(f"{path} is not a safetensors file, so it is not replaced") from None


def migrate(
    source: PathLike,
    new: PathLike | LoadedSpec,
    out: PathLike | None = None,
    *,
    old: PathLike | LoadedSpec | None = None,
    moments: bool = False,
    new_choice: Choice | None = None,
    new_input: Input | None = None,
    new_row: Row | None = None,
    seed: int = 0,
) -> Migrated:
    """Carry the weights of a run, or of a safetensors file, over to the spec `new`. Needs torch.

    Weights that both models have are kept, by name. `old` is the spec of the weights; a run's
    folder has it. Without `moments`, the weights are those of the best epoch; with it, those of the
    last checkpoint, with the optimiser's moments. The choices are those of `homespec migrate` and
    determine how new parts start; fresh parts are drawn with `seed`. With `out`, the result is also
    written: a file, or with moments a folder.

    Raises OpenChoiceError, a RunError, for a choice that is needed and not made; RunError for
    weights that cannot be read, are not of `old`, or cannot be written; ValueError for a choice
    that is unknown; SpecError; `homespec.memory.OutOfMemoryError` where memory is short.
    """
    given: dict[str, str | None] = {"choice": new_choice, "input": new_input, "row": new_row}
    Starts.of(given)  # an unknown value is an error even if it is not needed
    before = None if old is None else as_loaded(old).analysis
    migration = Migration.of(read(Path(source), before, moments=moments), as_loaded(new).analysis)
    migrated = carry_out(migration, migration.starts(given), seed)
    if out is not None:
        migrated.write(out)
    return migrated
