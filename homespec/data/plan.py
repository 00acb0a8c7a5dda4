"""Data: the columns that a spec reads, and their conversion to arrays. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from homespec.data import DataError, columns
from homespec.data.columns import Array
from homespec.data.label_values import labels as labels_of
from homespec.data.label_values import unknown_value
from homespec.data.lists import Lists, read_lists
from homespec.data.sample_weights import sample_weights
from homespec.schema.input_tensors import InputTensor, input_tensors
from homespec.schema.label_parser import parse_label
from homespec.schema.labels import Label
from homespec.schema.sessions import session_column

if TYPE_CHECKING:
    from homespec.schema.models import Spec, Task

USERS = "--gauc-by"
"""Who needs the column of users, for messages."""
SESSIONS = "`within`"
"""The same for the column of sessions."""


class Arrays(NamedTuple):
    """Rows as arrays: features by the name of their tensor, labels by task, ids of users, sample
    weights by task, and ids of sessions.
    """

    features: dict[str, Array]
    labels: dict[str, Array]
    users: Array | None = None
    weights: dict[str, Array] = {}  # noqa: RUF012  # it is never modified
    sessions: Array | None = None

    def map(self, change: Callable[[Array], Array]) -> Arrays:
        """The rows with a function applied to each array."""
        return Arrays(
            {name: change(array) for name, array in self.features.items()},
            {task: change(array) for task, array in self.labels.items()},
            None if self.users is None else change(self.users),
            {task: change(array) for task, array in self.weights.items()},
            None if self.sessions is None else change(self.sessions),
        )

    @property
    def columns(self) -> list[Array]:
        """All arrays."""
        ids = [each for each in (self.users, self.sessions) if each is not None]
        return [
            *self.features.values(), *self.labels.values(), *ids, *self.weights.values()
        ]  # fmt: skip

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.features.values())))

    def split(self, rows: int) -> Iterator[Arrays]:
        """Parts with `rows` rows each, which share the memory."""
        for low in range(0, self.rows, rows):
            yield self.map(itemgetter(slice(low, low + rows)))

    def padded(self, rows: int) -> Arrays:
        """The rows, padded to `rows` with rows of missing values without labels."""

        def fill(array: Array) -> Array:
            out = columns.missing((rows, *array.shape[1:]), array.dtype)
            out[: len(array)] = array
            return out

        filled = self.map(fill)
        for array in filled.weights.values():
            array[self.rows :] = 0.0
        return filled


@dataclass(frozen=True)
class Plan:
    """The tensors, labels and users that training reads from the data of a spec."""

    tensors: tuple[InputTensor, ...]
    labels: dict[str, Label]
    binary: frozenset[str]
    """Tasks whose labels are 0 or 1."""
    users: str | None = None
    """The column with the user of each impression."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """The column of sample weights by task."""
    sessions: str | None = None
    """The column of the sessions in which tasks rank their rows."""

    @classmethod
    def of(cls, spec: Spec, users: str | None = None) -> Plan:
        """The plan of a spec."""
        return cls(
            input_tensors(spec),
            {name: label_of(task) for name, task in spec.tasks.items()},
            frozenset(name for name, task in spec.tasks.items() if task.kind == "binary"),
            users,
            {name: task.sample_weight for name, task in spec.tasks.items() if task.sample_weight},
            session_column(spec),
        )

    @property
    def wanted(self) -> dict[str, str]:
        """The columns to read, each with who needs it."""
        wanted: dict[str, str] = {}
        for tensor in self.tensors:
            wanted.setdefault(tensor.column, f"feature `{tensor.feature}`")
        for task, label in self.labels.items():
            for column in label.columns:
                wanted.setdefault(column, f"task `{task}`")
        for task, column in self.weights.items():
            wanted.setdefault(column, f"the weights of task `{task}`")
        if self.sessions is not None:
            wanted.setdefault(self.sessions, SESSIONS)
        if self.users is not None:
            wanted.setdefault(self.users, USERS)
        return wanted

    @property
    def exact(self) -> frozenset[str]:
        """The columns of ids, and of numbers that are compared with boundaries or by labels.

        Ids as float32 are refused from 2^24, where different ids are the same number; as float64
        they would not be.
        """
        features = {tensor.column for tensor in self.tensors if tensor.kind != "vector"}
        ids = {column for column in (self.users, self.sessions) if column is not None}
        compared = (label.columns for label in self.labels.values() if not label.is_bare)
        return frozenset(features.union(ids, *compared))

    @property
    def bytes_per_row(self) -> int:
        """Bytes of a row's tensors, or less if a number is a float32."""
        sizes = (
            (4 if t.kind == "vector" else 8) * (t.width or 1) * (t.length or 1)
            for t in self.tensors
        )
        of_tasks = len(self.labels) + len(self.weights)
        ids = (self.users is not None) + (self.sessions is not None)
        return sum(sizes) + 4 * of_tasks + 8 * ids

    def convert(self, table: pa.Table) -> Arrays:
        """Convert a table that has the columns. Raises DataError, which names the column."""
        return Arrays(
            {tensor.name: array for tensor, array in self._features(table)},
            {
                task: labels_of(f"task `{task}`", label, table, task in self.binary)
                for task, label in self.labels.items()
            },
            None if self.users is None else ids_of(USERS, self.users, table),
            {
                task: sample_weights(f"the weights of task `{task}`", column, table)
                for task, column in self.weights.items()
            },
            None if self.sessions is None else ids_of(SESSIONS, self.sessions, table),
        )

    def read(self, table: pa.Table, files: object) -> Arrays:
        """Like `convert`, but errors also name the files, and the command that shows more.

        That command only knows the columns of the spec, and so not that of users.
        """
        more = "; `homespec check-data` shows where, and lists other problems"
        with _locating(files, more):
            arrays = replace(self, users=None).convert(table)
        if self.users is None:
            return arrays
        with _locating(files):
            return arrays._replace(users=ids_of(USERS, self.users, table))

    def _features(self, table: pa.Table) -> Iterator[tuple[InputTensor, Array]]:
        for _, fields in groupby(self.tensors, key=lambda tensor: tensor.feature):
            first: Lists | None = None
            for tensor in fields:
                column = table[tensor.column].combine_chunks()
                if not tensor.length:
                    yield tensor, columns.values(tensor, column)
                    continue
                read = read_lists(tensor, column, first)
                first = first or read
                yield tensor, columns.events(tensor, read.lists)


def label_of(task: Task) -> Label:
    """The labels of a task."""
    label = parse_label(task.label)
    return replace(label, unknown=unknown_value(task.unknown, label.of_text))


@contextmanager
def _locating(files: object, more: str = "") -> Iterator[None]:
    """Add the files, and a further remark, to errors about a table."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{files}: {error}{more}") from None


def ids_of(who: str, column: str, table: pa.Table) -> Array:
    """The ids of a table's users or sessions, int64 [N], the same as for a feature."""
    with columns.naming(who, column):
        return columns.ids(table[column].combine_chunks())
