"""Training: values that are fitted to data, by feature, in a file beside the checkpoints. No torch.

`quantiles` has the boundaries of buckets, `scaling` the offsets and units of numbers, and
`vocabularies` the ids that have rows.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from homespec.atomic_write import write_texts
from homespec.data import DataError
from homespec.schema.models import Spec
from homespec.train import RunError

VERSION = 1

Asked = tuple[str, int | str]
"""A column, and the spec's options: the number of quantiles, or the scale."""


class Entry(ABC):
    """The fitted values of one feature."""

    @property
    @abstractmethod
    def asked(self) -> Asked:
        """The options for which they were fitted."""

    @property
    @abstractmethod
    def numbers(self) -> tuple[float, ...]:
        """The numbers for generated files."""

    @classmethod
    @abstractmethod
    def read(cls, name: str, entry: dict[str, Any]) -> Self:
        """An entry of a file. Raises KeyError, TypeError and ValueError."""


class CarriedEntry(Entry):
    """Values that a run keeps as they are in the weights that it starts from."""

    @classmethod
    @abstractmethod
    def carried(cls, asked: Asked, numbers: tuple[float, ...]) -> Self:
        """The values of another run, for which no rows were counted."""


E = TypeVar("E", bound=Entry)


class Words(NamedTuple):
    """The words of messages about a file's values."""

    own: str
    """Without an article: "its own boundaries"."""
    one: str
    """For one feature: "a scaling"."""
    other: str
    """For one feature: "another scaling"."""
    of_features: str
    """For the features {}, with its verb: "the scaling of {} is"."""
    differs: str
    """The options in the file and in the spec: "the scale {} there and {}"."""
    fits: str
    """The verb for the spec's request: "scale"."""


@dataclass(frozen=True)
class FittedFile(ABC, Generic[E]):
    """The fitted values by feature, and the number of rows that were read."""

    rows: int
    features: dict[str, E]

    FILE: ClassVar[str]
    TENSOR: ClassVar[str]
    """The logical name of the tensor of a feature {}."""
    WORDS: ClassVar[Words]
    ENTRY: ClassVar[type[Entry]]

    @staticmethod
    @abstractmethod
    def wanted(spec: Spec) -> dict[str, Asked]:
        """The spec's options by feature."""

    @staticmethod
    def numbers_of(tensor: list[Any]) -> list[Any]:
        """The numbers for generated files, from the tensor that these store."""
        return tensor

    @property
    def values(self) -> dict[str, list[float]]:
        """The numbers by feature, as generated files take them."""
        return {name: list(own.numbers) for name, own in self.features.items()}

    def check(self, spec: Spec, where: str) -> None:
        """Raise DataError with the difference if a spec has other options."""
        for difference in self._differences(self.wanted(spec)):
            raise DataError(
                f"{where} was fitted for another spec: {difference}. Use the spec that it was "
                "fitted for, or start a new run, which fits its own"
            )

    def _differences(self, wanted: dict[str, Asked]) -> Iterator[str]:
        words = self.WORDS
        for name, (column, option) in wanted.items():
            if name not in self.features:
                yield f"it has no {words.own} of `{name}`"
                continue
            own_column, own_option = self.features[name].asked
            if own_option != option:
                yield f"`{name}` has {words.differs.format(own_option, option)} in the spec"
            elif own_column != column:
                yield f"`{name}` is the column `{own_column}` there, `{column}` in the spec"
        for name in self.features:
            if name not in wanted:
                yield f"it has {words.one} of `{name}`, which the spec does not {words.fits}"

    def write(self, path: Path) -> None:
        """Write the file as JSON, atomically. Raises RunError if that fails."""
        about = {"version": VERSION, **asdict(self)}
        try:
            write_texts({path: json.dumps(about, indent=1, allow_nan=False) + "\n"})
        except OSError as error:
            raise RunError(f"{path} cannot be written ({error.strerror})") from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of `write`. Raises DataError if it is missing or broken."""
        try:
            about = json.loads(path.read_text("utf-8"))
            if about["version"] != VERSION:
                raise ValueError(f"version {about['version']}, not {VERSION}")
            entries = about["features"].items()
            features: dict[str, Any] = {name: cls.ENTRY.read(name, own) for name, own in entries}
            return cls(int(about["rows"]), features)
        except (
            OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError
        ) as error:  # fmt: skip
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            raise DataError(
                f"{path} cannot be read ({reason}): restore it from a copy, or start a new run, "
                f"which fits its own {cls.WORDS.own}"
            ) from None
