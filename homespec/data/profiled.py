"""Data: a spec beside the profiles of its files, as the rules of `check-data` see them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homespec.diagnostics import Span
from homespec.schema.models import Spec
from homespec.source import Document

if TYPE_CHECKING:
    from homespec.data.profile import FeatureProfile, Profile, TaskProfile


@dataclass(frozen=True)
class ProfiledData:
    """A spec and what its files hold."""

    spec: Spec
    document: Document
    train: Profile
    valid: Profile | None = None

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Both parts, or the one."""
        return (self.train,) if self.valid is None else (self.train, self.valid)

    def features(self) -> Iterator[tuple[Profile, FeatureProfile]]:
        """Each column of a feature that can be read, with where it is."""
        for part in self.profiles:
            for feature in part.features.values():
                if not feature.problem and feature.rows:
                    yield part, feature

    def tasks(self) -> Iterator[tuple[Profile, str, TaskProfile]]:
        """Each task whose label can be read, with where it is."""
        for part in self.profiles:
            for name, task in part.tasks.items():
                if not task.problem and task.rows:
                    yield part, name, task

    def at_feature(self, feature: FeatureProfile) -> Span:
        """The place of a feature in the spec: its column, if it is given."""
        return self._at("features", feature.tensor.feature, "column")

    def at_buckets(self, feature: FeatureProfile) -> Span:
        """The place in the spec of the `buckets` of the table in which a feature is looked up."""
        owner, _, field = feature.tensor.table.partition(".")
        path = (
            (owner, "sequence", "with", field, "id", "buckets")
            if field
            else (owner, "id", "buckets")
        )
        if self.document.has(("features", *path)):
            return self.document.span(("features", *path))
        return self.at_feature(feature)

    def at_task(self, task: str, *keys: str) -> Span:
        """The place of a task in the spec: the first of `keys` that is given, else its name."""
        return self._at("tasks", task, *keys)

    def _at(self, section: str, name: str, *keys: str) -> Span:
        for key in keys:
            if self.document.has((section, name, key)):
                return self.document.span((section, name, key))
        return self.document.span((section, name), key=True)


def share(part: float, whole: float) -> str:
    """A share in words: `12 of 9,000 (0.13%)`."""
    percent = 100 * part / whole
    digits = 0 if percent >= 10 else 1 if percent >= 1 else 2
    return f"{part:,} of {whole:,} ({percent:.{digits}f}%)"
