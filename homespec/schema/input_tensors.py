"""Stage 2, schema: the tensors that a model takes, and the columns of data they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from homespec.schema.lists import WEIGHTS, ListOptions, Pool
from homespec.schema.models import Embedded, Feature, Sequence, Spec


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One entry of the dict of features that a model is called with.

    `id`: int64 [B], missing -1. `number`: float32, float64 or integers [B], missing NaN. `vector`:
    float [B, width], missing NaN. `weight`: float [B, length], missing NaN. Where `length` is not 0
    the tensor has that many values a row, [B, length], then as many missing ones as it takes; those
    of events begin with the oldest.
    """

    name: str
    """Its key; a field of a sequence is `sequence.field`."""
    feature: str
    """The feature of the spec that it belongs to."""
    column: str
    """The column of the data."""
    kind: Literal["id", "number", "vector", "weight"] = "number"
    width: int = 0
    """Numbers of a vector."""
    length: int = 0
    """Events of a sequence that are kept, the latest, or values of a list, the first; 0 for a
    single value."""
    pool: Pool | Literal[""] = ""
    """How a list becomes one embedding; "" for events and single values."""
    vocab: int = 0
    """Ids are 0 to vocab - 1; 0 if any id may occur, and for tensors other than ids."""
    texts: tuple[str, ...] = ()
    """The vocabulary, if the spec lists it: id i is the one of the i-th."""
    words: int = 0
    """How many ids a vocabulary that is fitted to data may have; 0 for what has none."""
    buckets: int = 0
    """Rows that hashed ids share; 0 for tensors other than hashed ids."""
    separator: str = ""
    """What separates the values of a list in text; "" for what separates them by default."""
    padding: str = ""
    """The value that fills lists up; of a sequence its first field has it, of a list its values."""
    table: str = ""
    """The name of the tensor in whose table values are looked up; "" for vectors, weights and
    numbers that are scaled."""
    scale: str = ""
    """How a number that is looked up in no table is scaled: standard, log, minmax or none."""

    @property
    def elements(self) -> str:
        """What messages call the values of a row."""
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
    """What says how values of a field become rows: the feature, or the field, with the table."""
    table = event_table(spec, sequence, field)
    return spec.features[table] if table else sequence.with_[field]


def event_table(spec: Spec, sequence: Sequence, field: str) -> str:
    """The feature in whose table a field is looked up; "" if the field has a table of its own."""
    own = sequence.with_.get(field)
    return spec.owner(field) if own is None else own.table


def _tensors(spec: Spec, name: str) -> Iterator[InputTensor]:
    feature = spec.features[name]
    if feature.kind == "cross":
        return
    if feature.kind != "sequence":  # values looked up in a table are as its owner's
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
    """The tensor with the kind that the owner of its table gives it."""
    if isinstance(owner, Feature) and owner.kind == "dense":
        return replace(tensor, kind="vector", width=owner.dense, table="")
    if isinstance(owner, Feature) and owner.kind == "number":
        return replace(tensor, scale=owner.scale, table="")
    if owner.is_id:
        return replace(tensor, kind="id", vocab=owner.id.size, buckets=owner.id.buckets,
                       texts=owner.id.texts, words=owner.id.words)  # fmt: skip
    return tensor
