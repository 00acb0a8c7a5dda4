"""Stage 7, emit: FEATURES, with a line for each input tensor of a generated file."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace

from homespec.diagnostics import Span
from homespec.emit.layout import INDENT, LINE, Expr, call, flat, harmless, literal, mapping, strings
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature
from homespec.graph.inputs import inputs_of
from homespec.graph.sequences import Sequence
from homespec.schema.input_tensors import weights_key

IDS, NUMBERS = ("hashed", "vocab", "words"), ("bucketized", "fitted")
COLUMNS = ("number", "scaled", "log_scaled")
"""Numbers without a table, which are columns of v."""


@dataclass(frozen=True, slots=True)
class InputField:
    """An input tensor of the model, by `key`; `feature` describes it.

    `table` is the key of the feature in whose table it is looked up, "" for its own. A field of
    events has the `length` of its `sequence`, a dense feature that of its vectors. A list is a
    sequence of its own name; a tensor that `weighs` has the weights of its values. A feature with
    several tables has them `at` nodes of the task tree.
    """

    key: str
    feature: Feature
    span: Span
    table: str = ""
    sequence: str = ""
    length: int = 0
    weighs: bool = False
    at: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The function of `blocks/kinds.py` that describes it."""
        feature = self.feature
        if self.weighs:
            return "weights"
        if feature.source == "id":
            return "words" if feature.words else "hashed" if feature.hashed else "vocab"
        if feature.source == "bucketize":
            return "fitted" if feature.fitted else "bucketized"
        if feature.source == "number":
            scaled = "log_scaled" if feature.scale == "log" else "scaled"
            return scaled if feature.scaled else "number"
        if self.sequence:
            return "event_vector"
        if feature.projected:
            return "learned_projected" if feature.learned else "projected"
        return "learned" if feature.learned else "dense"


def input_fields(graph: Graph) -> list[InputField]:
    """The tensors in the order of the spec; those of a sequence in its place, of a cross none."""
    features = {feature.name: feature for feature in graph.of(Feature)}
    sequences = {node.name: node for node in graph.of(Sequence)}
    fields: list[InputField] = []
    for tables in inputs_of(graph).values():
        name = tables[0].name
        if name in sequences:
            fields += _fields_of_events(sequences[name], features)
        elif not features[name].crossed:
            feature = features[name]
            table = features[feature.table].short if feature.table else ""
            at = tuple(t.place for t in tables if isinstance(t, Feature) and t.one_of_several)
            field = InputField(
                feature.short, feature, feature.span, table, length=feature.numbers, at=at
            )
            fields += _fields_of_list(field) if feature.pool else (field,)
    return fields


def _fields_of_list(field: InputField) -> Iterator[InputField]:
    feature = field.feature
    values = replace(field, sequence=feature.short, length=feature.length)
    yield values
    if feature.weighted:
        yield replace(values, key=weights_key(feature.short), table="", weighs=True, at=())


def _fields_of_events(node: Sequence, features: dict[str, Feature]) -> Iterator[InputField]:
    for field in node.fields:
        feature = features[field.table]
        table = "" if field.own else features[feature.owner].short
        span = feature.span if field.own else node.span
        yield InputField(field.key, feature, span, table, node.short, node.max_len)


def described(fields: list[InputField], main: str) -> str:
    """FEATURES: a line for each tensor, with its line in the spec, whose file is `main`."""
    entries = "\n".join(entry(f.key, _description(f), f.span, main) for f in fields)
    return f"FEATURES = {{\n{entries}\n}}"


def entry(key: str, description: str, span: Span, main: str) -> str:
    """A line of a constant that describes features, with its line in the spec."""
    start = span.start.line
    file = "" if span.file == main else harmless(span.file.rpartition("/")[2])
    place = f"# {file}:{start}"
    line = f"{INDENT}{literal(key)}: {description},"
    if len(line) + len(place) + 2 <= LINE:
        return f"{line}  {place}"
    wrap = functools.partial(
        textwrap.wrap, line, subsequent_indent=INDENT * 2,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    lines = wrap(LINE)
    if len(lines[-1]) + len(place) + 2 > LINE:
        lines = wrap(LINE - len(place) - 2)
    return "\n".join(lines) + f"  {place}"


def has_line(field: InputField) -> bool:
    """Whether a function describes it.

    A field that uses another feature's table is described like it.
    """
    return not (field.table and field.kind in (*NUMBERS, "words"))


def _description(field: InputField) -> str:
    """`hashed(8192, dim=16, table="video_id")`."""
    feature = field.feature
    more = _more(field)
    if not has_line(field):
        head: list[tuple[str, Expr]] = [("kind", literal(field.kind)), ("dim", str(feature.width))]
        return flat(mapping([*head, *more.items()]))
    args = {
        "hashed": [str(feature.rows - 1)],
        "vocab": [str(feature.rows - 1)],
        "words": [str(feature.words)],
        "bucketized": [_number(boundary) for boundary in feature.boundaries],
        "fitted": [str(feature.fitted)],
        "scaled": [literal(feature.scale)],
        "log_scaled": [],
        "number": [],
        "weights": [],
    }.get(field.kind, [str(feature.numbers)])
    keywords: dict[str, Expr] = {}
    if field.kind in IDS + NUMBERS:
        keywords["dim"] = str(feature.width)
    elif feature.projected:
        keywords["width"] = str(feature.width)
    return flat(call(field.kind, *args, **keywords, **more))


def _more(field: InputField) -> dict[str, Expr]:
    """The arguments for another table or a sequence."""
    more: dict[str, Expr] = {}
    if field.table:
        more["table"] = literal(field.table)
    if field.sequence:
        more |= {"sequence": literal(field.sequence), "length": str(field.length)}
    if field.at:
        more["at"] = strings(field.at)
    return more


def kind_blocks(fields: list[InputField]) -> list[str]:
    """The functions that describe fields; only kinds with such arguments take `more`."""
    lines = [field for field in fields if has_line(field)]
    own = ("weights", "event_vector")  # which always belong to a sequence
    more = {f.kind for f in lines if (f.table or f.sequence or f.at) and f.kind not in own}
    return [f"kinds.{f.kind}{'__more' if f.kind in more else ''}" for f in lines]


def _number(number: float) -> str:
    """A number with six digits if they represent it exactly."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(float(number))
