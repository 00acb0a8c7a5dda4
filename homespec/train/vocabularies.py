"""Training: vocabularies, fitted to data and saved in a file. No torch.

An entry is an id, which `homespec.data.cell_ids` computes from a text. An id keeps its row for
good: a run that starts from another one adds missing ids as long as there are rows for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from homespec.data import DataError
from homespec.data.word_fit import Frequent, WordFit
from homespec.schema.fitted_columns import VOCABULARY, WordColumn, word_columns
from homespec.schema.models import Spec
from homespec.train.fitted_file import Asked, Entry, FittedFile, Words

FILE = "vocabularies.json"


@dataclass(frozen=True)
class Vocabulary(Entry):
    """The ids of a feature, and the data to which they were fitted."""

    column: str
    min_count: int
    max_size: int
    known: int
    """Number of counted values of the column; 0 for a vocabulary from another run."""
    ids: tuple[int, ...]
    """In the order of the rows of the table, from row 1 on."""
    counts: tuple[int, ...]
    """The count of each id; 0 if it is unknown."""
    texts: tuple[str | None, ...] = ()
    """The text of each id in the data; None if it was not found there, for ids of another run."""

    @property
    def asked(self) -> Asked:
        """The column, the least count and the greatest size."""
        return self.column, f"min_count {self.min_count} and max_size {self.max_size}"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The ids."""
        return self.ids

    @classmethod
    def read(cls, name: str, entry: dict[str, Any]) -> Self:
        """An entry of a file. Raises KeyError, TypeError and ValueError."""
        ids, counts = map(int, entry["ids"]), map(int, entry["counts"])
        made = cls(
            str(entry["column"]), int(entry["min_count"]), int(entry["max_size"]),
            int(entry["known"]), tuple(ids), tuple(counts), tuple(entry["texts"]),
        )  # fmt: skip
        if len(made.ids) != len(made.counts) or not 0 < len(made.ids) <= made.max_size:
            raise ValueError(f"{name} has {len(made.ids)} ids and {len(made.counts)} counts")
        return made


@dataclass(frozen=True)
class Vocabularies(FittedFile[Vocabulary]):
    """The fitted vocabularies of a spec by name, and the number of rows that were read."""

    FILE: ClassVar[str] = FILE
    TENSOR: ClassVar[str] = VOCABULARY
    ENTRY: ClassVar[type[Entry]] = Vocabulary
    WORDS: ClassVar[Words] = Words(
        "vocabulary", "a vocabulary", "another vocabulary", "the vocabulary of {} is",
        "{} there and {}", "fit",
    )  # fmt: skip

    @property
    def ids(self) -> dict[str, tuple[int, ...]]:
        """The ids by feature, as `set_vocabularies` of a generated file takes them."""
        return {name: own.ids for name, own in self.features.items()}

    @staticmethod
    def wanted(spec: Spec) -> dict[str, Asked]:
        """The columns and limits that a spec asks for, by feature."""
        return {
            name: (own.column, f"min_count {own.min_count} and max_size {own.max_size}")
            for name, own in word_columns(spec).items()
        }

    @staticmethod
    def numbers_of(tensor: list[Any]) -> list[int]:
        """The ids in the order of rows, of the tensor that generated files keep."""
        low, high, rows = tensor
        by_row = dict(zip(rows, zip(low, high, strict=True), strict=True))
        return [int(by_row[row][0]) + int(by_row[row][1]) for row in sorted(by_row)]


def fitted(
    fit: WordFit, before: Mapping[str, list[int]], closed: Collection[str] = ()
) -> Vocabularies:
    """The vocabularies for the added rows. Raises DataError for a column without frequent ids.

    Ids that a feature has `before` keep their rows. Other frequent ids get the free rows, the most
    frequent first, but not in `closed` vocabularies.
    """
    features = {}
    for name, asked in fit.asked.items():
        found, own = fit.frequent(name), before.get(name, [])
        if found.problem and not own:
            raise DataError(f"feature `{name}`: the column `{asked.column}` {found.problem}")
        features[name] = _vocabulary(asked, found, own, name in closed)
    return Vocabularies(fit.rows, features)


def _vocabulary(asked: WordColumn, found: Frequent, before: list[int], closed: bool) -> Vocabulary:
    counts = dict(zip(found.ids.tolist(), found.counts.tolist(), strict=True))
    ids = list(before)
    taken = {each % 2**53 for each in before}
    room = 0 if closed else asked.max_size - len(ids)
    ids += [each for each in counts if each % 2**53 not in taken][:room]
    return Vocabulary(
        asked.column, asked.min_count, asked.max_size, found.values, tuple(ids),
        tuple(counts.get(each, 0) for each in ids),
    )  # fmt: skip


def with_texts(made: Vocabularies, texts: Mapping[str, Mapping[int, str]]) -> Vocabularies:
    """The vocabularies with the texts of ids.

    Ids that the data does not write as text are whole numbers.
    """
    features = {}
    for name, own in made.features.items():
        said = texts[name]
        numbers = {each: str(each) for each in own.ids} if not said else {}
        found = tuple(said.get(each, numbers.get(each)) for each in own.ids)
        features[name] = replace(own, texts=found)
    return replace(made, features=features)


def remarks(fit: WordFit, made: Vocabularies, before: Mapping[str, list[int]]) -> list[str]:
    """A line for each vocabulary, with its number of ids and those without a row."""
    lines = []
    for name, own in made.features.items():
        old, found = len(before.get(name, ())), fit.frequent(name)
        kept = set(own.ids)
        left = sum(each not in kept for each in found.ids.tolist())
        carried = f"{old:,} carried over, {len(own.ids) - old:,} new; " if old else ""
        ids = "1 id" if len(own.ids) == 1 else f"{len(own.ids):,} ids"
        line = f"the vocabulary of {name} has {ids}, {carried}kept in {FILE}"
        if left:
            line += f"; {left:,} more are as frequent, and there are no rows for them"
        lines.append(line)
    return lines
