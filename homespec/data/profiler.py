"""Data: profiles files in one pass. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from homespec.data import DataError, columns
from homespec.data.chunk_reader import slabs
from homespec.data.columns import Array, Column
from homespec.data.data_files import DataFiles
from homespec.data.distinct import RowHashes
from homespec.data.fit_preview import previews
from homespec.data.label_values import not_binary, raw_labels
from homespec.data.list_profile import ListProfile
from homespec.data.lists import Lists, read_lists
from homespec.data.pair_profile import pair_profiles
from homespec.data.plan import SESSIONS, Plan, ids_of
from homespec.data.profile import FeatureProfile, Profile, TaskProfile, WeightProfile
from homespec.data.quantile_fit import QuantileFit, fit_plan
from homespec.data.sample_weights import sample_weights
from homespec.data.scale_fit import ScaleFit
from homespec.data.session_profile import SessionProfile
from homespec.data.word_fit import WordFit
from homespec.schema.input_tensors import InputTensor

if TYPE_CHECKING:
    from homespec.schema.models import Spec

T = TypeVar("T")


def profile(spec: Spec, files: DataFiles, train: Profile | None = None) -> Profile:
    """Profile files in one pass.

    `train` is the profile of the training rows, if these are held out.

    Raises DataError for a broken file. Problems with columns are part of the result.
    """
    profiler = _Profiler(spec, files, train)
    if len(profiler.schema):
        for table in slabs(files, profiler.schema):
            profiler.add(table)
    return profiler.result()


class _Cells(NamedTuple):
    """A column of some rows: its cells, or those of all lists of a sequence, and their values."""

    values: Array
    cells: Column
    lengths: Array | None = None
    """Number of events in each row of a sequence."""
    read: Lists | None = None


class _Profiler:
    """The state of a pass."""

    def __init__(self, spec: Spec, files: DataFiles, train: Profile | None) -> None:
        self.spec, self.files, self.train, self.plan = spec, files, train, Plan.of(spec)
        if train is not None:
            self.plan = replace(self.plan, sessions=None)
        self.profile = Profile(
            str(files), files.rows, files.missing(self.plan.wanted),
            {tensor.name: FeatureProfile(tensor) for tensor in self.plan.tensors},
            {t: TaskProfile(str(label), label.columns) for t, label in self.plan.labels.items()},
            {task: WeightProfile(column) for task, column in self.plan.weights.items()},
            pairs=pair_profiles(spec, self.plan.tensors),
        )  # fmt: skip
        if self.plan.sessions is not None:
            self.profile.sessions = SessionProfile(self.plan.sessions)
        self.schema = self._readable()
        self.hashes = RowHashes()
        self.to_fit = fit_plan(spec)
        self.fits = (QuantileFit(spec), ScaleFit(spec), WordFit(spec)) if train is None else None
        self.rows = 0

    def _readable(self) -> pa.Schema:
        """The readable columns; tensors and labels that need another one have a problem."""
        types, problems = {}, dict.fromkeys(self.profile.missing, "missing")
        for column in self.plan.wanted:
            if column not in problems:
                try:
                    types[column] = self.files.type_of(column, column in self.plan.exact)
                except DataError as error:
                    problems[column] = f"{self.files}: {error}"
        for feature in self.profile.features.values():
            feature.problem = problems.get(feature.tensor.column, "")
        for task, label in self.plan.labels.items():
            wrong = [problems[column] for column in label.columns if column in problems]
            self.profile.tasks[task].problem = wrong[0] if wrong else ""
        for weight in self.profile.weights.values():
            weight.problem = problems.get(weight.column, "")
        if self.profile.sessions is not None:
            self.profile.sessions.problem = problems.get(self.profile.sessions.column, "")
        return pa.schema(list(types.items()))

    def add(self, table: pa.Table) -> None:
        """Record rows."""
        self.hashes.start(table.num_rows)
        sizes: dict[str, Lists] = {}
        ids: dict[str, Array] = {}
        for feature in self.profile.features.values():
            self._add_feature(feature, table, sizes, ids)
        for pairs in self.profile.pairs.values():
            pairs.add(ids)
        self._add_tasks(table)
        if self.fits is not None:
            self._add_numbers(self.fits, table)
        self.rows += table.num_rows

    def result(self) -> Profile:
        """Statistics of all rows."""
        if self.fits is not None:
            self.profile.fitted = previews(self.fits[0])
            self.profile.scaled = self.fits[1].previews()
            self.profile.words = self.fits[2].previews()
        self.profile.duplicates = self.hashes.repeated()
        return self.profile

    def _add_feature(
        self,
        feature: FeatureProfile,
        table: pa.Table,
        sizes: dict[str, Lists],
        ids: dict[str, Array],
    ) -> None:
        """Record a column; `sizes` are the numbers of events of each row, by sequence.

        Values of single ids are added to `ids`, by feature.
        """
        tensor = feature.tensor
        first = sizes.get(tensor.feature)
        read = self._try(feature, partial(_cells, tensor, first), table)
        if read is None:
            return
        seen = self.train.features[tensor.name] if self.train else None
        known = None if seen is None or seen.problem else seen.distinct
        feature.add(read.values, read.cells, known)
        if read.lengths is None:
            self.hashes.add(read.values)
            if tensor.kind == "id":
                ids[tensor.name] = read.values
            return
        self.hashes.add(read.lengths)
        feature.add_lengths(read.lengths)
        if first is None:
            assert read.read is not None
            sizes[tensor.feature] = read.read
            feature.lists = feature.lists or ListProfile()
            feature.lists.add(columns.decoded(read.cells), read.values, read.lengths)

    def _add_tasks(self, table: pa.Table) -> None:
        labels: dict[str, Array] = {}
        for name, label in self.plan.labels.items():
            task = self.profile.tasks[name]
            values = self._try(task, partial(raw_labels, f"task `{name}`", label), table)
            if values is not None:
                wrong = not_binary(values) if name in self.plan.binary else np.isinf(values)
                task.add_wrong(values[wrong])
                values[wrong] = np.nan
                self.hashes.add(values)
                labels[name] = values
        weights = {name: self._weights(name, table) for name in self.profile.weights}
        if self.profile.sessions is not None:
            self._add_sessions(self.profile.sessions, table, labels, weights)
        for name, values in labels.items():
            self.profile.tasks[name].add(values, self._space(name, labels), weights.get(name))
            for parent in self._parents(name):
                if parent in labels:
                    orphans = self.profile.tasks[name].orphans
                    both = int(((values == 1) & (labels[parent] == 0)).sum())
                    orphans[parent] = orphans.get(parent, 0) + both

    def _weights(self, name: str, table: pa.Table) -> Array | None:
        """Record the sample weights of a task and return them; None if they cannot be used."""
        own = self.profile.weights[name]
        read = partial(sample_weights, f"the weights of task `{name}`", own.column)
        weights = self._try(own, read, table)
        if weights is not None:
            own.add(weights)
        return weights

    def _add_sessions(
        self,
        sessions: SessionProfile,
        table: pa.Table,
        labels: dict[str, Array],
        weights: dict[str, Array | None],
    ) -> None:
        """Record sessions, and the rows that tasks compare in them."""
        ids = self._try(sessions, partial(ids_of, SESSIONS, sessions.column), table)
        if ids is None:
            return
        own = {t: values for t, values in labels.items() if self.spec.tasks[t].within}
        counts = {}
        for name in own:
            task, weight = self.spec.tasks[name], weights.get(name)
            counts[name] = np.ones(len(ids), bool) if weight is None else weight > 0
            if not task.outside_weight:
                counts[name] &= self._space(name, labels)
        sessions.add(ids, own, counts)

    def _space(self, name: str, labels: dict[str, Array]) -> Array:
        """The rows in a task's sample space, by the labels of the tasks in its `where`."""
        inside = np.ones(len(labels[name]), bool)
        parent = self.spec.tasks[name].where
        while parent in labels:
            inside &= labels[parent] == 1
            parent = self.spec.tasks[parent].where
        return inside

    def _parents(self, name: str) -> tuple[str, ...]:
        """The tasks whose label must be 1 if this one's is."""
        task = self.spec.tasks[name]
        if name not in self.plan.binary:
            return ()
        space = [task.where] if task.where and not task.outside_weight else []
        return tuple(dict.fromkeys([*space, *task.product]))

    def _add_numbers(self, fits: tuple[QuantileFit, ScaleFit, WordFit], table: pa.Table) -> None:
        """Record rows for fitting, as long as their columns can be read."""
        unusable = {name for name, feature in self.profile.features.items() if feature.problem}
        tensors = tuple(tensor for tensor in self.to_fit.tensors if tensor.name not in unusable)
        numbers = replace(self.to_fit, tensors=tensors).convert(table).features
        for fit in fits:
            fit.add(numbers, unusable)

    def _try(
        self,
        column: FeatureProfile | TaskProfile | WeightProfile | SessionProfile,
        read: Callable[[pa.Table], T],
        table: pa.Table,
    ) -> T | None:
        """The result of `read` on rows; None if it fails, which is recorded as a problem."""
        if column.problem:
            return None
        try:
            return read(table)
        except DataError as error:
            column.problem = self._problem(read, table, error)
            return None

    def _problem(
        self, read: Callable[[pa.Table], object], table: pa.Table, error: DataError
    ) -> str:
        """The message of an error, with the first row that raises it unless the type does."""
        rows, error = columns.shortest_failing(
            lambda rows: read(table.slice(0, rows)), table.num_rows, error
        )
        _, _, text = str(error).partition(": ")
        if not rows:
            return f"{self.files}: {text}"
        path, row = self.files.place(self.rows + rows - 1)
        return f"{path}, row {row} (from 0): {text}"


def _cells(tensor: InputTensor, first: Lists | None, table: pa.Table) -> _Cells:
    """A column. That of a sequence is compared with the events in each row of the `first` field."""
    column = table[tensor.column].combine_chunks()
    if not tensor.length:
        return _Cells(columns.values(tensor, column), column)
    read = read_lists(tensor, column, first)
    cells = read.lists.flatten()
    return _Cells(columns.values(tensor, cells), cells, columns.lengths(read.lists), read)
