"""Data: a spec with the profiles of its files, the input of the rules of `check-data`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homespec.diagnostics import Span
from homespec.schema.input_tensors import InputTensor
from homespec.schema.models import Spec
from homespec.source import Document

if TYPE_CHECKING:
    from homespec.data.profile import FeatureProfile, Profile, TaskProfile


@dataclass(frozen=True)
class ProfiledData:
    """A spec and the profiles of its files."""

    spec: Spec
    document: Document
    train: Profile
    valid: Profile | None = None

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The profiles of both splits, or of the only one."""
        return (self.train,) if self.valid is None else (self.train, self.valid)

    @property
    def tasks_within(self) -> list[str]:
        """The tasks that rank rows within sessions."""
        return [name for name, task in self.spec.tasks.items() if task.within]

    def features(self) -> Iterator[tuple[Profile, FeatureProfile]]:
        """Each readable column of a feature, with its split."""
        for part in self.profiles:
            for feature in part.features.values():
                if not feature.problem and feature.rows:
                    yield part, feature

    def tasks(self) -> Iterator[tuple[Profile, str, TaskProfile]]:
        """Each task with a readable label, with its split."""
        for part in self.profiles:
            for name, task in part.tasks.items():
                if not task.problem and task.rows:
                    yield part, name, task

    def at_column(self, tensor: InputTensor) -> Span:
        """The place in the spec that names the column of a tensor."""
        feature = ("features", tensor.feature)
        if tensor.kind == "weight":
            return self.document.span((*feature, "list", "weights"))
        if not tensor.length or tensor.pool:
            return self._first((*feature, "column"), feature)
        sequence, field = (*feature, "sequence"), tensor.name.removeprefix(f"{tensor.feature}.")
        return self._first((*sequence, "columns", field), (*sequence, "with", field), feature)

    def at_table(self, tensor: InputTensor, key: str) -> Span:
        """The place of the `buckets` or `vocab` of the table in which a tensor is looked up."""
        owner, _, field = tensor.table.partition(".")
        ids = (owner, "sequence", "with", field, "id") if field else (owner, "id")
        if self.document.has(("features", *ids, key)):
            return self.document.span(("features", *ids, key))
        return self.at_column(tensor)

    def at_task(self, task: str, *keys: str) -> Span:
        """The place of a task in the spec: the first of `keys` that it has, else its name."""
        return self._first(*(("tasks", task, key) for key in keys), ("tasks", task))

    def _first(self, *paths: tuple[str, ...]) -> Span:
        """The first place that the spec has: a value that is text, or else the key of a mapping."""
        path = next(path for path in paths if self.document.has(path))
        return self.document.span(path, key=len(path) == 2 or path[-2] == "with")


def share(part: float, whole: float) -> str:
    """A share in words: `12 of 9,000 (0.13%)`."""
    percent = 100 * part / whole
    digits = 0 if percent >= 10 else 1 if percent >= 1 else 2
    return f"{part:,} of {whole:,} ({percent:.{digits}f}%)"
