"""Stage 2, schema: the input features."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag

from homespec.schema.constraints import one_of, only_with
from homespec.schema.crosses import Cross
from homespec.schema.embedded import OWNERS, Embedded, dim_of
from homespec.schema.field_types import MAX_ENTRIES, Member, Model, Name, Width, absent, listed
from homespec.schema.identifiers import ROOT
from homespec.schema.lists import ListOptions
from homespec.schema.numbers import Dropout
from homespec.schema.sequences import Sequence

Kind = Literal["id", "bucketize", "number", "dense", "table", "cross", "sequence"]
KINDS: tuple[Kind, ...] = get_args(Kind)
READ: tuple[Kind, ...] = ("id", "bucketize", "number", "dense", "table")
"""The kinds that read their own column."""
ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
Columns = Annotated[
    Annotated[ColumnName, Tag("text")]
    | Annotated[tuple[ColumnName, ...], Field(min_length=1), BeforeValidator(listed), Tag("list")]
    | Annotated[dict[Name, ColumnName], Field(min_length=1), Tag("mapping")],
    Discriminator(lambda value: {list: "list", dict: "mapping"}.get(type(value), "text")),
]
Places = Annotated[
    Annotated[Member, Tag("text")]
    | Annotated[
        tuple[Member, ...],
        Field(min_length=1, max_length=MAX_ENTRIES),
        BeforeValidator(listed),
        Tag("list"),
    ],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "text"),
]
Scale = Literal["standard", "log", "minmax", "none"]


class Number(Model):
    """A number that is a column of the input v after scaling."""

    scale: Scale = "standard"
    """How the number is scaled. The statistics are fitted to the training data once and then kept
    with the weights. `standard`: (x - mean) / deviation. `log`: the same of sign(x) log(1 + |x|),
    for unbounded numbers such as counts and prices. `minmax`: (x - min) / (max - min). `none`: x.
    """


class Feature(Embedded):
    """One input feature.

    It is exactly one of `id`, `bucketize`, `number`, `dense`, `table`, `cross` and `sequence`.
    """

    number: Number = absent({"scale": "standard"})
    """A number, one column of v: `{scale: standard}`. A missing one is 0 after scaling."""
    dense: Width = Field(default=0, examples=[128])
    """A dense vector of this many numbers, from a column of lists; with 1, plain numbers also work.
    Single missing numbers become 0."""
    project: Width = Field(default=0, examples=[32])
    """Width to which a Linear projects a `dense` feature. Default: no projection."""
    missing: Literal["zero", "learned"] = "zero"
    """Replacement for a missing `dense` vector: zeros, or a learned vector. It is applied before
    the projection."""
    cross: Cross = absent()
    """The pair of two ids, with a table of its own: `{of: [user_id, tab], buckets: n}`."""
    sequence: Sequence = absent()
    """Past events, summarised by an encoder (docs/sequences.md)."""
    list: ListOptions = absent()
    """Each row has a list of values, which are looked up one by one and pooled into one embedding.
    """
    dropout: Dropout = Field(default=0.0, examples=[0.1])
    """Share of the feature's columns of v that training sets to 0, each on its own. Default: the
    spec's `feature_dropout` (docs/regularisation.md)."""
    from_: Annotated[
        str, Field(min_length=1, max_length=400, alias="from", examples=["vectors.npy"])
    ] = ""
    """A file with vectors of `dim` numbers, with which the rows of an `id` begin to train: `.npy`
    or `.safetensors` with a vector for each id of `vocab`, or `.parquet` with the columns `id` and
    `vector`. Its path is that from the spec's file."""
    frozen: bool = False
    """The rows from the file stay as they are: `homespec train` does not change the table."""
    column: Annotated[str, Field(min_length=1, max_length=200)] = ""
    """Column of the data that holds the feature. Default: the feature's name. A sequence has
    `columns` instead, and a cross reads the tensors of its ids."""
    at: Places = Field(default=ROOT, examples=[["shared", "tasks"]])
    """The node of the task tree that the feature belongs to: `shared` (the root, the default), a
    group or a task. Only nodes at or below it read it, in the first layer. An `id` or `bucketize`
    feature may have a table at each of several nodes; a node reads the nearest one on its path.
    `tasks` is all tasks, and `groups` all groups: `[shared, tasks]` is STEM's (docs/inputs.md)."""
    columns: Columns = absent()  # always: each is a feature by then
    """Instead of `column`: declares a feature for each of these columns, named after the column and
    with all options of this entry. A list, whose items may be ranges such as `C1..C26`, or a
    mapping from names to columns."""
    was: Name = ""
    """The feature's name in older specs. `homespec diff` and `migrate` treat both as one feature.
    """

    @property
    def places(self) -> tuple[str, ...]:
        """The entries of `at` as a list: nodes of the task tree, `tasks` and `groups`."""
        return (self.at,) if isinstance(self.at, str) else self.at

    @property
    def kind(self) -> Kind:
        """The kind of the feature."""
        for kind in KINDS:
            if kind in self.model_fields_set:
                return kind
        return "dense"

    @property
    def is_list(self) -> bool:
        """Whether a row has a list of values, pooled to one embedding."""
        return "list" in self.model_fields_set

    @property
    def width(self) -> int:
        """Number of columns of the input v that the feature takes.

        It is 0 if another part decides: the encoder of a sequence, or the feature that owns a
        shared table.
        """
        if self.kind == "dense":
            return self.project or self.dense
        return 1 if self.kind == "number" else self.dim

    @property
    def rows(self) -> int:
        """Rows of the feature's own table; row 0 stands for missing values. 0 without a table."""
        return 1 + self.cross.buckets if self.kind == "cross" else super().rows

    @property
    def scale(self) -> Scale | Literal[""]:
        """How a number is scaled; "" for other kinds."""
        return self.number.scale if self.kind == "number" else ""

    constraints = (
        one_of(KINDS, "feature_kind"),
        dim_of((*OWNERS, "cross"), KINDS),
        only_with(("dense",), ("project", "missing"), KINDS, "dense_only"),
        only_with((*OWNERS, "table"), ("list",), KINDS, "list_kind"),
        only_with((*READ, "cross"), ("column",), KINDS, "sequence_column"),
        only_with((*READ, "sequence"), ("column",), KINDS, "cross_column"),
    )
