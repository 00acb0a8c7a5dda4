"""Data: one pass over a source -> what there is to know of each feature and task. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from homespec.data import DataError, columns
from homespec.data.chunk_reader import ChunkReader
from homespec.data.collisions import Collisions, HashedTable, collisions
from homespec.data.columns import Array
from homespec.data.distinct import Distinct, RowHashes
from homespec.data.files import DataFiles
from homespec.data.fit_preview import FitPreview, previews
from homespec.data.label_values import not_binary, raw_labels
from homespec.data.list_profile import ListProfile
from homespec.data.plan import Plan, check_even
from homespec.data.quantile_fit import QuantileFit, fit_plan
from homespec.schema.tensors import InputTensor

if TYPE_CHECKING:
    from homespec.schema.models import Spec

SLAB_ROWS = 65_536


@dataclass
class FeatureProfile:
    """What one tensor's column holds. Of a sequence the values are those of all events."""

    tensor: InputTensor
    problem: str = ""
    """Why the column cannot serve; nothing else is known then."""
    rows: int = 0
    absent: int = 0
    """Rows without a value; of a sequence without events."""
    values: int = 0
    """Values (or events) that are there, not missing, and how many of them are finite."""
    finite: int = 0
    low: float = np.inf
    high: float = -np.inf
    unknown: int = 0
    """Ids that the vocabulary does not have, and one of them."""
    unknown_example: int = 0
    unseen: int = 0
    """Ids that do not occur in the rows to train on."""
    longest: int = 0
    cut: int = 0
    """Rows with more events than are kept."""
    distinct: Distinct = field(default_factory=Distinct)
    lists: ListProfile | None = None
    """Of the first field of a sequence, which says which events there are."""

    @property
    def collisions(self) -> Collisions | None:
        """How the ids fill their table; None for what is not hashed, or not known."""
        if self.problem or not self.tensor.buckets or self.distinct.full or not len(self.distinct):
            return None
        return collisions(self.distinct.values, self.tensor.buckets)

    @property
    def constant(self) -> bool:
        """Whether all rows hold the same."""
        return self.values == 0 or (self.low == self.high and not self.absent)

    def add(self, found: Array, known: Distinct | None) -> None:
        """Take note of values [N] or [N, width]."""
        is_id = self.tensor.kind == "id"
        there = found != -1 if is_id else ~np.isnan(found)
        present = found[there]
        if self.tensor.length == 0:
            self.rows += len(found)
            self.absent += int((~there).reshape(len(found), -1).all(1).sum())
        self.values += len(present)
        self.finite += len(present) if is_id else int(np.isfinite(present).sum())
        if not len(present):
            return
        self.low = min(self.low, present.min().item())
        self.high = max(self.high, present.max().item())
        if is_id:
            self._add_ids(present, known)

    def _add_ids(self, present: Array, known: Distinct | None) -> None:
        self.distinct.add(present)
        if self.tensor.vocab:
            wrong = present[(present < 0) | (present >= self.tensor.vocab)]
            if len(wrong) and not self.unknown:
                self.unknown_example = int(wrong[0])
            self.unknown += len(wrong)
        if known is not None:
            self.unseen += known.count_new(present)

    def add_lengths(self, sizes: Array) -> None:
        """Take note of the events of each row [N]."""
        self.rows += len(sizes)
        self.absent += int((sizes == 0).sum())
        self.longest = max(self.longest, int(sizes.max(initial=0)))
        self.cut += int((sizes > self.tensor.length).sum())


@dataclass
class TaskProfile:
    """What one task's label holds."""

    label: str
    problem: str = ""
    rows: int = 0
    missing: int = 0
    """Rows of the whole file without a label."""
    samples: int = 0
    """Rows with a label in the task's sample space, and the sum of their labels."""
    total: float = 0.0
    squares: float = 0.0
    """The sum of squared differences from the mean."""
    low: float = np.inf
    high: float = -np.inf
    wrong: int = 0
    """Labels of a binary task that are neither 0 nor 1, and one of them."""
    wrong_example: float = 0.0
    orphans: dict[str, int] = field(default_factory=dict)
    """Rows in which the label is 1 and that of another task, of which it is a case, is 0."""

    @property
    def rate(self) -> float:
        """The mean label of the samples; NaN if there are none."""
        return self.total / self.samples if self.samples else float("nan")

    @property
    def deviation(self) -> float:
        """The standard deviation of the samples' labels; NaN if there are none."""
        return float(np.sqrt(self.squares / self.samples)) if self.samples else float("nan")

    def add(self, labels: Array) -> None:
        """Take note of the labels [N] of samples."""
        if not len(labels):
            return
        exact = labels.astype(np.float64)
        mean, rows = float(exact.mean()), len(exact)
        if self.samples:  # what two means, apart, add to the squares around the common one
            shift = mean - self.rate
            self.squares += shift**2 * self.samples * rows / (self.samples + rows)
        self.squares += float(((exact - mean) ** 2).sum())
        self.samples += rows
        self.total += float(exact.sum())
        self.low = min(self.low, float(exact.min()))
        self.high = max(self.high, float(exact.max()))


@dataclass
class Profile:
    """What there is to know of a source."""

    name: str
    """How messages call it."""
    rows: int
    missing: dict[str, str]
    """Columns that are not there, each with one that may be meant."""
    features: dict[str, FeatureProfile]
    """By the name of the tensor."""
    tasks: dict[str, TaskProfile]
    fitted: dict[str, FitPreview] = field(default_factory=dict)
    """What training would fit, by the name of the tensor; of rows to train on alone."""
    duplicates: int = 0
    """Rows that repeat an earlier one in all that the spec reads of single values."""

    @property
    def readable(self) -> bool:
        """Whether all columns are there and can be read."""
        features = any(feature.problem for feature in self.features.values())
        return not (features or any(task.problem for task in self.tasks.values()))

    def tables(self) -> Iterator[tuple[FeatureProfile, HashedTable]]:
        """Each table of hashed ids that are known, and the first tensor that is looked up in it.

        What features and sequences look up in one table counts together.
        """
        tables: dict[str, list[FeatureProfile]] = {}
        for feature in self.features.values():
            unsplit = feature.lists is not None and feature.lists.separator
            if feature.collisions and not unsplit:
                tables.setdefault(feature.tensor.table, []).append(feature)
        for features in tables.values():
            ids = [feature.distinct.values for feature in features]
            yield features[0], HashedTable.of(ids, features[0].tensor.buckets)


def profile(spec: Spec, source: DataFiles, train: Profile | None = None) -> Profile:
    """Read the source once. `train` are the rows to train on, if these are held-out ones.

    Raises DataError for a broken file; what is wrong with columns is part of the result.
    """
    plan = Plan.of(spec)
    found = Profile(
        str(source), source.rows, source.missing(plan.wanted),
        {t.name: FeatureProfile(t) for t in plan.tensors},
        {task: TaskProfile(str(label)) for task, label in plan.labels.items()},
    )  # fmt: skip
    types = _types(source, plan, found)
    schema = pa.schema(list(types.items()))
    reader, hashes = ChunkReader(source.chunks, schema), RowHashes()
    fit, to_fit = QuantileFit(spec) if train is None else None, fit_plan(spec)
    for low in range(0, source.rows if types else 0, SLAB_ROWS):
        table = reader.table(low, min(low + SLAB_ROWS, source.rows))
        hashes.start(table.num_rows)
        _add_features(found, plan, table, train, hashes)
        _add_tasks(found, spec, plan, table, hashes)
        if fit is not None:
            _add_numbers(found, fit, to_fit, table)
    found.fitted = {} if fit is None else previews(fit)
    found.duplicates = hashes.repeated()
    return found


def _add_numbers(found: Profile, fit: QuantileFit, plan: Plan, table: pa.Table) -> None:
    """Take note of what is to be fitted, as long as its columns can be read."""
    unusable = {name for name, feature in found.features.items() if feature.problem}
    tensors = tuple(tensor for tensor in plan.tensors if tensor.name not in unusable)
    fit.add(replace(plan, tensors=tensors).convert(table).features, unusable)


def _types(source: DataFiles, plan: Plan, found: Profile) -> dict[str, pa.DataType]:
    """The types of the columns that can be read; what needs another one has a problem."""
    types, problems = {}, dict.fromkeys(found.missing, "missing")
    for column in plan.wanted:
        if column not in problems:
            try:
                types[column] = source.type_of(column, column in plan.exact)
            except DataError as error:
                problems[column] = str(error)
    for tensor in plan.tensors:
        found.features[tensor.name].problem = problems.get(tensor.column, "")
    for task, label in plan.labels.items():
        wrong = [problems[column] for column in label.columns if column in problems]
        found.tasks[task].problem = wrong[0] if wrong else ""
    return types


def _add_features(
    found: Profile, plan: Plan, table: pa.Table, train: Profile | None, hashes: RowHashes
) -> None:
    sizes: dict[str, tuple[InputTensor, Array]] = {}
    for tensor in plan.tensors:
        feature = found.features[tensor.name]
        if feature.problem:
            continue
        known = train.features[tensor.name].distinct if train and _has_ids(train, tensor) else None
        try:
            for array in _measured(feature, table, sizes, known):
                hashes.add(array)
        except DataError as error:
            feature.problem = str(error).partition(": ")[2]


def _has_ids(train: Profile, tensor: InputTensor) -> bool:
    return tensor.kind == "id" and not train.features[tensor.name].problem


def _measured(
    feature: FeatureProfile,
    table: pa.Table,
    sizes: dict[str, tuple[InputTensor, Array]],
    known: Distinct | None,
) -> Iterator[Array]:
    """Take note of a column; yields what tells its rows apart. `sizes` are those of sequences."""
    tensor = feature.tensor
    column = columns.as_array(table[tensor.column])
    if not tensor.length:
        found = columns.values(tensor, column)
        feature.add(found, known)
        yield found
        return
    lists = columns.as_lists(f"feature `{tensor.feature}`", tensor.column, column)
    lengths = columns.lengths(lists)
    first, others = sizes.setdefault(tensor.feature, (tensor, lengths))
    check_even(first, others, tensor, lengths)
    cells = lists.flatten()
    flat = columns.values(tensor, cells)
    feature.add(flat, known)
    feature.add_lengths(lengths)
    if first is tensor:
        feature.lists = feature.lists or ListProfile()
        feature.lists.add(columns.decoded(cells), flat, lengths)
    yield lengths


def _add_tasks(found: Profile, spec: Spec, plan: Plan, table: pa.Table, hashes: RowHashes) -> None:
    labels: dict[str, Array] = {}
    for task, label in plan.labels.items():
        about = found.tasks[task]
        if not about.problem:
            try:
                labels[task] = raw_labels(f"task `{task}`", label, table)
            except DataError as error:
                about.problem = str(error).partition(": ")[2]
                continue
            _check_binary(about, labels[task], task in plan.binary)
            hashes.add(labels[task])
    for task, label_N in labels.items():
        _add_task(found.tasks[task], label_N, _space(spec, task, labels))
        if task in plan.binary:
            for parent in _parents(spec, task):
                if parent in labels:
                    orphans = found.tasks[task].orphans
                    both = int(((label_N == 1) & (labels[parent] == 0)).sum())
                    orphans[parent] = orphans.get(parent, 0) + both


def _check_binary(about: TaskProfile, labels: Array, binary: bool) -> None:
    """Count what is no label, and take it for missing from here on."""
    bad = not_binary(labels) if binary else np.isinf(labels)
    if bad.any():
        if not about.wrong:
            about.wrong_example = float(labels[bad][0])
        about.wrong += int(bad.sum())
        about.missing -= int(bad.sum())
        labels[bad] = np.nan


def _add_task(about: TaskProfile, labels: Array, space: Array) -> None:
    observed = ~np.isnan(labels)
    about.rows += len(labels)
    about.missing += int((~observed).sum())
    about.add(labels[observed & space])


def _space(spec: Spec, task: str, labels: dict[str, Array]) -> Array:
    """The rows that are samples of a task by the labels of the tasks that `where` names."""
    inside = np.ones(len(labels[task]), bool)
    parent = spec.tasks[task].where
    while parent in labels:
        inside &= labels[parent] == 1
        parent = spec.tasks[parent].where
    return inside


def _parents(spec: Spec, task: str) -> tuple[str, ...]:
    """The tasks whose label must be 1 where this one's is."""
    about = spec.tasks[task]
    return tuple(dict.fromkeys([about.where, *about.product])) if about.where else about.product
