"""Stage 2, schema: values with embeddings, the common part of features and fields of events."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from homespec.schema.constraints import Constrained, Constraint, one_of, only_with
from homespec.schema.field_types import Boundaries, Model, Rows, Width, absent, listed

OWNERS = ("id", "bucketize")
"""The kinds whose table others may use: they define its rows and its width."""


def dim_of(with_tables: tuple[str, ...], kinds: tuple[str, ...]) -> Constraint:
    """Exactly the kinds with their own table have `dim`.

    A spec-wide `dim` has been filled in by then; for editors, which see the written spec, there is
    `DIM_NEEDED`.
    """
    return replace(_dim_of(with_tables, kinds), needs=[])


def _dim_of(with_tables: tuple[str, ...], kinds: tuple[str, ...]) -> Constraint:
    needed = "add `dim`, the width of the embedding"
    return only_with(with_tables, ("dim",), kinds, "feature_dim", needed)


FIELD_DIM_NEEDED = {"allOf": _dim_of(OWNERS, OWNERS).needs}
"""What a field of events needs in a spec without a spec-wide `dim`."""
_TABLES = (*OWNERS, "cross")
DIM_NEEDED = {"allOf": _dim_of(_TABLES, _TABLES).needs}
"""What a feature needs in such a spec."""


class Quantiles(Model):
    """Boundaries that are fitted to the training data once, and then kept with the weights."""

    quantiles: Annotated[int, Field(ge=2, le=10_000, examples=[32])]
    """Number of buckets, with about the same number of rows in each, as far as repeated numbers
    allow. A column with fewer different numbers leaves the remaining buckets empty."""


def cut_as(value: Any) -> str:
    """Whether boundaries are given or fitted."""
    return "mapping" if isinstance(value, dict | Quantiles) else "list"


Cuts = Annotated[
    Annotated[Quantiles, Tag("mapping")] | Annotated[Boundaries, Tag("list")],
    Discriminator(cut_as),
]


MAX_TEXT = 200


def as_texts(value: Any) -> Any:
    """A vocabulary from YAML; whole numbers become text."""
    texts = listed(value)
    if not isinstance(texts, tuple):
        return texts
    return tuple(str(text) if type(text) is int else text for text in texts)


def check_texts(texts: tuple[str, ...]) -> tuple[str, ...]:
    """A vocabulary without repetitions."""
    seen: set[str] = set()
    for index, text in enumerate(texts):
        if text in seen:
            raise PydanticCustomError("repeated_text", "it is there twice", {"index": index})
        seen.add(text)
    return texts


Texts = Annotated[
    tuple[
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=MAX_TEXT,
                json_schema_extra={"type": ["string", "integer"]},
            ),
        ],
        ...,
    ],
    Field(min_length=1, max_length=10_000),
    BeforeValidator(as_texts),
    AfterValidator(check_texts),
]


class FittedVocab(Model):
    """A vocabulary that is fitted to the training data, once, and then kept with the weights."""

    min_count: Annotated[int, Field(ge=1, le=2**31, examples=[5])]
    """How often an id has to be in the rows to train on. Rarer ones are unknown ids."""
    max_size: Annotated[Rows, Field(examples=[10_000])]
    """How many ids are kept, the most frequent. The table has a row for each, so that its size is
    known before the fit."""


def vocab_as(value: Any) -> str:
    """Whether a vocabulary is a number of ids, listed or fitted."""
    if isinstance(value, dict | FittedVocab):
        return "mapping"
    return "list" if isinstance(value, list | tuple) else "int"


Vocab = Annotated[
    Annotated[Rows, Field(examples=[100]), Tag("int")]
    | Annotated[Texts, Tag("list")]
    | Annotated[FittedVocab, Tag("mapping")],
    Discriminator(vocab_as),
]


class Id(Constrained):
    """An identifier or category, looked up in an embedding table."""

    buckets: Rows = Field(default=0, examples=[100_000])
    """Hash the id into this many rows: any 64-bit integer modulo buckets. Missing ids (-1 in
    tensors, null in files) have a row of their own."""
    vocab: Vocab = 0
    """Ids are 0 to vocab - 1, or the entries of a list such as `[US, DE]`, whose order is the order
    of rows, or the frequent ids of the data: `{min_count: 5, max_size: 10000}`. Missing and unknown
    ids share a row of their own."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The vocabulary, if the spec lists one."""
        return self.vocab if isinstance(self.vocab, tuple) else ()

    @property
    def fitted(self) -> FittedVocab | None:
        """How the vocabulary is fitted to data, if it is."""
        return self.vocab if isinstance(self.vocab, FittedVocab) else None

    @property
    def words(self) -> int:
        """Maximum number of ids of a fitted vocabulary; 0 for others."""
        return self.vocab.max_size if isinstance(self.vocab, FittedVocab) else 0

    @property
    def size(self) -> int:
        """Size of a given vocabulary; 0 if ids are hashed, or if the vocabulary is fitted."""
        if isinstance(self.vocab, FittedVocab):
            return 0
        return len(self.vocab) if isinstance(self.vocab, tuple) else self.vocab

    constraints = (one_of(("buckets", "vocab"), "id_kind"),)


class Embedded(Constrained):
    """A value that is looked up in a table."""

    id: Id = absent()  # `kind` says which one is set
    """An id or category: `{buckets: n}` hashes, `{vocab: n}` takes ids below n."""
    bucketize: Cuts = ()
    """A number, split at these ascending boundaries (a bucket includes its lower one), or at
    boundaries fitted to the data: `{quantiles: n}`. Each bucket has an embedding, and so have
    missing values."""
    table: Annotated[str, Field(min_length=1, max_length=200)] = ""
    """An `id` or `bucketize` feature in whose table the values of this one are looked up, with its
    rows and its width."""
    dim: Width = Field(default=0, examples=[16])
    """Width of the embedding of an `id`, of `bucketize` or of a `cross`."""

    @property
    def is_id(self) -> bool:
        """Whether it is an id or category."""
        return "id" in self.model_fields_set

    @property
    def quantiles(self) -> int:
        """Number of buckets whose boundaries are fitted to data; 0 where these are given."""
        return self.bucketize.quantiles if isinstance(self.bucketize, Quantiles) else 0

    @property
    def boundaries(self) -> tuple[float, ...]:
        """The boundaries that the spec gives."""
        return () if isinstance(self.bucketize, Quantiles) else self.bucketize

    @property
    def rows(self) -> int:
        """Rows of the embedding table; row 0 stands for missing. 0 where it has none of its own."""
        if self.is_id:
            return 1 + (self.id.buckets or self.id.words or self.id.size)
        if "bucketize" in self.model_fields_set:
            return 1 + (self.quantiles or len(self.boundaries) + 1)
        return 0
