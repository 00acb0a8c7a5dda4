"""Data: statistics of files, by feature and task. Needs only numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from homespec.data.collisions import Collisions, HashedTable, collisions
from homespec.data.distinct import Distinct
from homespec.schema.input_tensors import InputTensor

if TYPE_CHECKING:
    from homespec.data.columns import Array, Column
    from homespec.data.fit_preview import FitPreview
    from homespec.data.list_profile import ListProfile
    from homespec.data.pair_profile import PairProfile
    from homespec.data.scale_fit import ScalePreview
    from homespec.data.session_profile import SessionProfile
    from homespec.data.word_fit import Frequent


@dataclass
class FeatureProfile:
    """Statistics of one tensor's column. The values of a sequence are those of all events."""

    tensor: InputTensor
    problem: str = ""
    """Why the column cannot be used, and where. Then nothing else is known."""
    rows: int = 0
    absent: int = 0
    """Number of rows without a value or, for a sequence, without events."""
    values: int = 0
    """Number of existing values (or events), and of finite ones among them."""
    finite: int = 0
    low: float = np.inf
    high: float = -np.inf
    unknown: int = 0
    """Number of ids outside the vocabulary, and one of them as it is written."""
    unknown_example: Any = None
    unseen: int = 0
    """Number of ids that do not occur in the training rows."""
    longest: int = 0
    cut: int = 0
    """Number of rows with more events than are kept."""
    distinct: Distinct = field(default_factory=Distinct)
    lists: ListProfile | None = None
    """Known for the first field of a sequence, which determines the events."""

    @property
    def collisions(self) -> Collisions | None:
        """How the ids fill their table; None if ids are not hashed or unknown."""
        if self.problem or not self.tensor.buckets or self.distinct.full or not len(self.distinct):
            return None
        return collisions(self.distinct.values, self.tensor.buckets)

    @property
    def constant(self) -> bool:
        """Whether all rows hold the same."""
        return self.values == 0 or (self.low == self.high and not self.absent)

    def add(self, values: Array, cells: Column, known: Distinct | None) -> None:
        """Record values [N] or [N, width], with the cells [N] that they come from."""
        is_id = self.tensor.kind == "id"
        there = values != -1 if is_id else ~np.isnan(values)
        present = values[there]
        if self.tensor.length == 0:
            self.rows += len(values)
            self.absent += int((~there).reshape(len(values), -1).all(1).sum())
        self.values += len(present)
        self.finite += len(present) if is_id else int(np.isfinite(present).sum())
        if not len(present):
            return
        self.low = min(self.low, present.min().item())
        self.high = max(self.high, present.max().item())
        if is_id:
            self.distinct.add(present)
            self.unseen += 0 if known is None else known.count_new(present)
        if self.tensor.vocab:
            unknown = np.flatnonzero(there & ((values < 0) | (values >= self.tensor.vocab)))
            if len(unknown) and not self.unknown:
                self.unknown_example = cells[int(unknown[0])].as_py()
            self.unknown += len(unknown)

    def add_lengths(self, sizes: Array) -> None:
        """Record the number of events of each row [N]."""
        self.rows += len(sizes)
        self.absent += int((sizes == 0).sum())
        self.longest = max(self.longest, int(sizes.max(initial=0)))
        self.cut += int((sizes > self.tensor.length).sum())


@dataclass
class TaskProfile:
    """Statistics of one task's label."""

    label: str
    columns: tuple[str, ...] = ()
    """The columns of the label."""
    problem: str = ""
    rows: int = 0
    missing: int = 0
    """Number of rows, of all, without a label."""
    samples: int = 0
    """Number of samples: rows with a label in the task's sample space and a weight above 0."""
    positives: float = 0.0
    """The sum of the samples' labels."""
    mass: float = 0.0
    """The sum of the samples' weights, or their number if there are no weights."""
    total: float = 0.0
    squares: float = 0.0
    """Weighted sums of the labels and of squared differences from the mean."""
    low: float = np.inf
    high: float = -np.inf
    wrong: int = 0
    """Number of labels of a binary task that are not 0 or 1, and one of them."""
    wrong_example: float = 0.0
    orphans: dict[str, int] = field(default_factory=dict)
    """Number of rows with label 1 in which the label of another task that it implies is 0."""

    @property
    def rate(self) -> float:
        """The mean label of the samples; NaN if there are none."""
        return self.total / self.mass if self.mass else float("nan")

    @property
    def deviation(self) -> float:
        """The standard deviation of the samples' labels; NaN if there are none."""
        return float(np.sqrt(self.squares / self.mass)) if self.mass else float("nan")

    def add(self, labels: Array, space: Array, weights: Array | None = None) -> None:
        """Record labels [N], NaN if missing.

        Samples of the task are rows in `space` with a weight above 0.
        """
        observed = ~np.isnan(labels)
        self.rows += len(labels)
        self.missing += int((~observed).sum())
        counting = observed & space if weights is None else observed & space & (weights > 0)
        samples = labels[counting].astype(np.float64)
        if not len(samples):
            return
        own = 1.0 if weights is None else weights[counting].astype(np.float64)
        mass = float(np.sum(own)) if weights is not None else float(len(samples))
        mean = float((samples * own).sum() / mass)
        if self.mass:  # the contribution of the distance between two means to the squares
            shift = mean - self.rate
            self.squares += shift**2 * self.mass * mass / (self.mass + mass)
        self.squares += float((own * (samples - mean) ** 2).sum())
        self.samples += len(samples)
        self.positives += float(samples.sum())
        self.mass += mass
        self.total += float((samples * own).sum())
        self.low = min(self.low, float(samples.min()))
        self.high = max(self.high, float(samples.max()))

    def add_wrong(self, wrong: Array) -> None:
        """Record values [N] that are not labels; `add` receives them as missing."""
        if len(wrong) and not self.wrong:
            self.wrong_example = float(wrong[0])
        self.wrong += len(wrong)
        self.missing -= len(wrong)


@dataclass
class WeightProfile:
    """Statistics of the sample weights of a task."""

    column: str
    problem: str = ""
    rows: int = 0
    """Number of rows whose weight is not 0."""
    total: float = 0.0
    squares: float = 0.0
    """The sums of the weights and of their squares."""

    @property
    def effective(self) -> float:
        """The number of equally weighted rows that would determine a mean as well (Kish, *Survey
        Sampling*, 1965): (sum of w)² / sum of w².
        """
        return self.total**2 / self.squares if self.squares else 0.0

    def add(self, weights: Array) -> None:
        """Record weights [N]."""
        own = weights.astype(np.float64)
        self.rows += int((own > 0).sum())
        self.total += float(own.sum())
        self.squares += float(np.square(own).sum())


@dataclass
class Profile:
    """Statistics of the files of one split."""

    name: str
    """Its name in messages."""
    rows: int
    missing: dict[str, str]
    """Missing columns, each with a suggestion."""
    features: dict[str, FeatureProfile]
    """Statistics by the name of the tensor."""
    tasks: dict[str, TaskProfile]
    weights: dict[str, WeightProfile] = field(default_factory=dict)
    """By task, for tasks with sample weights."""
    fitted: dict[str, FitPreview] = field(default_factory=dict)
    """Boundaries that training would fit, by the name of the tensor; only for training rows."""
    scaled: dict[str, ScalePreview] = field(default_factory=dict)
    """How training would scale numbers, by feature; only for training rows."""
    words: dict[str, Frequent] = field(default_factory=dict)
    """The frequent ids of fitted vocabularies, by tensor; only for training rows."""
    sessions: SessionProfile | None = None
    """Sessions in which tasks rank rows; only for training rows."""
    pairs: dict[str, PairProfile] = field(default_factory=dict)
    """The pairs of each cross, by its name."""
    duplicates: int = 0
    """Number of rows that repeat an earlier one in all single values that the spec reads."""

    @property
    def readable(self) -> bool:
        """Whether all columns exist and can be read."""
        features = any(feature.problem for feature in self.features.values())
        tasks = any(task.problem for task in self.tasks.values())
        return not (features or tasks or any(weight.problem for weight in self.weights.values()))

    def tables(self) -> Iterator[tuple[FeatureProfile, HashedTable]]:
        """Each table of known hashed ids, with the first tensor that is looked up in it.

        Ids of all features and sequences that share a table are counted together.
        """
        tables: dict[str, list[FeatureProfile]] = {}
        for feature in self.features.values():
            unsplit = feature.lists is not None and feature.lists.separator
            if feature.collisions and not unsplit:
                tables.setdefault(feature.tensor.table, []).append(feature)
        for features in tables.values():
            ids = [feature.distinct.values for feature in features]
            yield features[0], HashedTable.of(ids, features[0].tensor.buckets)
