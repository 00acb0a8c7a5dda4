"""Stage 2, schema: the input tensors of a model, and the columns of data they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from homespec.schema.lists import WEIGHTS, ListOptions, Pool
from homespec.schema.models import Embedded, EventField, Feature, Sequence, Spec


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One entry of the dict of features that a model is called with.

    `id`: int64 [B], missing -1. `number`: float32, float64 or integers [B], missing NaN. `vector`:
    float [B, width], missing NaN. `weight`: float [B, length], missing NaN. If `length` is not 0,
    the tensor is [B, length], padded with missing values; events begin with the oldest.
    """

    name: str
    """Its key; `sequence.field` for a field of a sequence."""
    feature: str
    """The feature of the spec to which it belongs."""
    column: str
    """The column of the data."""
    kind: Literal["id", "number", "vector", "weight"] = "number"
    width: int = 0
    """Numbers of a vector."""
    length: int = 0
    """Number of events of a sequence that are kept (the latest), or of values of a list (the
    first); 0 for a single value."""
    pool: Pool | Literal[""] = ""
    """How a list becomes one embedding; "" for events and single values."""
    vocab: int = 0
    """Ids are 0 to vocab - 1; 0 if any id may occur, and for tensors other than ids."""
    texts: tuple[str, ...] = ()
    """The vocabulary, if the spec lists one: id i is that of entry i."""
    words: int = 0
    """Maximum number of ids of a fitted vocabulary; 0 without one."""
    buckets: int = 0
    """Number of rows for hashed ids; 0 for other tensors."""
    separator: str = ""
    """The separator of a list's values in text; "" for the default separators."""
    padding: str = ""
    """The value that pads lists; in a sequence, it is in the first field; in a list, among the
    values."""
    table: str = ""
    """The name of the tensor whose table is used; "" for vectors, weights and scaled numbers."""
    scale: str = ""
    """The scaling of a number without a table: standard, log, minmax or none."""

    @property
    def elements(self) -> str:
        """The word for the values of a row in messages."""
        return "values" if self.pool else "events"


def input_tensors(spec: Spec) -> tuple[InputTensor, ...]:
    """The tensors in the order of the features; a sequence has one for each field, a cross none."""
    return tuple(tensor for name in spec.features for tensor in _tensors(spec, name))


def weights_key(name: str) -> str:
    """The key of the tensor of weights of a list; names have no dots."""
    return f"{name}.{WEIGHTS}"


def event_key(sequence: str, field: str) -> str:
    """The key of the tensor of a field; names have no dots, so no other tensor has it."""
    return f"{sequence}.{field}"


def event_column(name: str, sequence: Sequence, field: str) -> str:
    """The column of a field of the sequence `name`."""
    return sequence.columns.get(field, f"{name}_{field}")


def event_values(spec: Spec, sequence: Sequence, field: str) -> Embedded:
    """The definition of how a field's values become rows: the feature or field with the table."""
    table = event_table(spec, sequence, field)
    return spec.features[table] if table else sequence.with_[field]


def event_table(spec: Spec, sequence: Sequence, field: str) -> str:
    """The feature whose table a field uses; "" if the field has its own table."""
    own = sequence.with_.get(field)
    return spec.owner(field) if own is None else own.table


def _tensors(spec: Spec, name: str) -> Iterator[InputTensor]:
    feature = spec.features[name]
    if feature.kind == "cross":
        return
    if feature.kind != "sequence":  # values in a shared table are like those of its owner
        owner = spec.owner(name)
        tensor = InputTensor(name, name, feature.column, table=owner)
        tensor = _tensor(spec.features[owner], tensor)
        yield from _of_list(tensor, feature.list) if feature.is_list else (tensor,)
        return
    sequence = feature.sequence
    for field in sequence.fields:
        key, column = event_key(name, field), event_column(name, sequence, field)
        table = event_table(spec, sequence, field) or key
        padding = sequence.padding if field == sequence.of[0] else ""
        tensor = InputTensor(key, name, column, length=sequence.max_len, table=table,
                             separator=sequence.separator, padding=padding)  # fmt: skip
        yield _tensor(event_values(spec, sequence, field), tensor)


def _of_list(tensor: InputTensor, options: ListOptions) -> Iterator[InputTensor]:
    """The values of a list, and their weights if there are any."""
    values = replace(tensor, length=options.max_len, pool=options.pool,
                     separator=options.separator, padding=options.padding)  # fmt: skip
    yield values
    if options.weights:
        name = weights_key(tensor.name)
        yield InputTensor(name, tensor.name, options.weights, "weight",
                          length=values.length, pool=values.pool,
                          separator=values.separator)  # fmt: skip


def _tensor(owner: Embedded, tensor: InputTensor) -> InputTensor:
    """The tensor, with its kind from the owner of its table."""
    if isinstance(owner, Feature | EventField) and owner.kind == "dense":
        return replace(tensor, kind="vector", width=owner.dense, table="")
    if isinstance(owner, Feature) and owner.kind == "number":
        return replace(tensor, scale=owner.scale, table="")
    if owner.is_id:
        return replace(tensor, kind="id", vocab=owner.id.size, buckets=owner.id.buckets,
                       texts=owner.id.texts, words=owner.id.words)  # fmt: skip
    return tensor
