"""Stage 7, emit: the inputs, features by name -> v. FEATURES has a line for each input tensor."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from homespec.emit.crosses import Crosses
from homespec.emit.feature_dropout import FeatureDropout
from homespec.emit.feature_modules import PLAIN, SCALES, VECTORS
from homespec.emit.input_fields import COLUMNS, IDS, NUMBERS, described, input_fields, kind_blocks
from homespec.emit.layout import (
    INDENT,
    LINE,
    Expr,
    assign,
    call,
    flat,
    literal,
    mapping,
    sequence,
    strings,
)
from homespec.emit.pools import Pools
from homespec.emit.sequences import Encoders, own_attribute
from homespec.emit.user_inputs import UserInputs
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature
from homespec.graph.inputs import width_of
from homespec.graph.nodes import Batch


class Inputs:
    """Writes the code that turns features into v."""

    def __init__(self, graph: Graph, plain: bool, inference: bool) -> None:
        self.graph, self.plain, self.inference = graph, plain, inference
        self.fields = input_fields(graph)
        self.kinds = list(dict.fromkeys(field.kind for field in self.fields))
        self.sharing = any(field.table for field in self.fields)
        self.encoders = Encoders(graph, self.plain, inference)
        self.pools = Pools(graph)
        self.dropout = FeatureDropout(graph, plain)
        self.user = UserInputs(graph, self.fields)
        self.crosses = Crosses(graph, self.fields, plain)
        self.several = bool(self.encoders.all or self.pools.all)  # entries on one line
        self.placed = any(field.at for field in self.fields)
        self.tables = [
            [m for m in node.members if isinstance(m, Feature)]
            for node in graph
            if isinstance(node, Batch) and isinstance(node.members[0], Feature)
        ]

    def context(self) -> dict[str, Any]:
        """The variables of the templates."""
        return {
            "width": width_of(self.graph),
            "fitted": "fitted" in self.kinds,
            "scaled": any(field.feature.scaled for field in self.fields),
            "words": "words" in self.kinds,
            "features": described(self.fields, self.graph.span.file),
            "kinds": [*kind_blocks(self.fields), *["kinds.crossed"] * bool(self.crosses.all)],
            "crosses": self.crosses.constant,
            "blocks": list(self._blocks()),
            "tables": bool(self.tables_needed and not self.plain),
            "rows": list(self._rows()),
            "base": "Boundaries" if not self.plain and "bucketized" in self.kinds else "nn.Module",
            "takes": self._takes(),
            "init": list(self._plain_init() if self.plain else self._init()),
            "forward": list(self.user.counted(list(self._forward()))),
            "is_id": self._condition(IDS),
            "is_number": self._condition(NUMBERS + COLUMNS),
            "lengths": any(field.length for field in self.fields),
            "event_vectors": "event_vector" in self.kinds,
            **self.user.context(),
            "forms": list(self.user.forms),
        }

    def _takes(self) -> str:
        """The types of all tensors, for the docstring of `Features`."""
        kinds = []
        if any(kind in IDS for kind in self.kinds):
            kinds.append("ids are integers [B]")
        if any(kind in NUMBERS + COLUMNS for kind in self.kinds):
            kinds.append("numbers float32, float64 or integers [B]")
        if any(field.feature.numbers and not field.sequence for field in self.fields):
            kinds.append("dense features floats [B, N]")
        text = ", ".join(kinds)
        text = f"{text[0].upper()}{text[1:]}"
        text += "; B is 1 for those of the user" if self.user.names else ""
        if self.encoders.all:
            text += "; fields of events are [B, L], oldest first, padded with -1 or NaN"
            text += ", vectors [B, L, N]" if "event_vector" in self.kinds else ""
        if self.pools.all:
            text += "; lists are [B, L], padded with -1 or NaN"
        if self.tables_needed and not self.plain:
            text += ". `table` is the class that looks up features of one width: `Table`, or one"
            text += " whose rows are sharded"
        return textwrap.indent("\n".join(textwrap.wrap(f"{text}.", LINE - 4)), INDENT)

    # ------------------------------------------------------------ blocks

    def _blocks(self) -> Iterator[str]:
        yield from self.encoders.blocks
        yield from self.pools.blocks
        yield from self.dropout.blocks
        yield from self.crosses.blocks
        mode = "__inference" if self.inference else ""
        if self.plain:
            yield from (PLAIN[kind] for kind in self.kinds if kind in PLAIN)
            if self.tables_needed:
                yield f"plain_inputs.Embedding{mode}"
            if self.placed:
                yield "plain_inputs.Tables"
            return
        yield from (f"vectors.{VECTORS[kind]}" for kind in self.kinds if kind in VECTORS)
        if self._vectors():
            yield "vectors.Vectors"
        if "event_vector" in self.kinds:
            yield "vectors.nan_to_zero"
        if self._columns():
            yield from (f"numbers.{SCALES[kind]}" for kind in self.kinds if kind in SCALES)
            yield "numbers.Numbers"
        if self.tables_needed:
            form = "__events" if self.several else "__shared" if self.sharing else ""
            form = "__placed" if self.placed else "__split" if self.user.names else form
            searched = "__searched" if self.encoders.scored else ""
            yield f"tables.Table{form}{searched}"
            yield from self.crosses.names_of_tables(bool(form))
            yield f"tables.embeddings{mode}"
        for kind, block in (("hashed", "hash_rows"), ("vocab", "vocab_rows")):
            if kind in self.kinds:
                yield f"rows.{block}"
        if "bucketized" in self.kinds:
            yield from ("rows.bucket_rows", "rows.Boundaries")
        if "fitted" in self.kinds:
            yield f"rows.FittedBoundaries{'__shared' if self.sharing else ''}"
        if "words" in self.kinds:
            yield f"rows.FittedVocabulary{'__shared' if self.sharing else ''}"

    @property
    def tables_needed(self) -> bool:
        """Whether there are features with tables."""
        return any(kind in IDS + NUMBERS for kind in self.kinds)

    @property
    def _shared_boundaries(self) -> bool:
        return any(field.table and field.kind == "bucketized" for field in self.fields)

    @property
    def _alike(self) -> bool:
        """Whether all features are in one table."""
        return len(self.tables) == 1 and all(kind in IDS + NUMBERS for kind in self.kinds)

    @property
    def _merged(self) -> bool:
        """Whether all features of a width have one table."""
        widths = [members[0].width for members in self.tables]
        return len(set(widths)) == len(widths)

    # ------------------------------------------------------------ __init__

    def _init(self) -> Iterator[str]:
        """Lines of `__init__` of an optimised file."""
        if len(self.tables) == 1:
            yield assign("self.table", self._table(self.tables[0]), 2)
        elif self._merged:
            widths = ", ".join(str(members[0].width) for members in self.tables)
            fields = f'{{n: f for n, f in {self.crosses.items} if f.get("dim") == dim}}'
            yield f"{INDENT * 2}self.tables = nn.ModuleList("
            made, each = f"{INDENT * 3}table({fields})", f"for dim in ({widths})"
            fits = len(made) + 1 + len(each) <= LINE
            yield f"{made} {each}" if fits else f"{made}\n{INDENT * 3}{each}"
            yield f"{INDENT * 2})"
        elif self.tables:
            tables = sequence([self._table(members) for members in self.tables], "[]")
            yield assign("self.tables", call("nn.ModuleList", tables), 2)
        for kind in ("hashed", "vocab"):
            if kind in self.kinds:
                only = f' if f["kind"] == "{kind}"' if len(self.kinds) > 1 else ""
                rows = f'n: f["rows"] for n, f in FEATURES.items(){only}'
                yield f"{INDENT * 2}self.{kind} = {{{rows}}}"
        if self._shared_boundaries:
            owner = 'n: f.get("table", n) for n, f in FEATURES.items() if f["kind"] == "bucketized"'
            yield f"{INDENT * 2}self.bucketized = {{\n{INDENT * 3}{owner}\n{INDENT * 2}}}"
        if "fitted" in self.kinds:
            each = "FittedBoundaries(name, count) for name, count in FITTED.items()"
            yield assign("self.fitted", call("nn.ModuleList", f"[{each}]"), 2)
        if "words" in self.kinds:
            each = "FittedVocabulary(name, size) for name, size in VOCABULARIES.items()"
            yield assign("self.vocabularies", call("nn.ModuleList", f"[{each}]"), 2)
        if "event_vector" in self.kinds:
            names = '[n for n, f in FEATURES.items() if "numbers" in f]'
            yield f"{INDENT * 2}self.event_vectors = {names}"
        if "dense" in self.kinds:
            names = '[name for name, field in FEATURES.items() if field["kind"] == "dense"]'
            yield f"{INDENT * 2}self.dense = {names if len(self.kinds) > 1 else 'list(FEATURES)'}"
        if vectors := self._vectors():
            yield assign("self.vectors", vectors, 2)
        if numbers := self._columns():
            yield assign("self.numbers", numbers, 2)
        yield from self.encoders.init
        yield from self._parts

    def _table(self, members: list[Feature]) -> Expr:
        if self._alike:
            return call("table", self.crosses.described)
        if self._merged:
            return call("table", f'{{n: f for n, f in {self.crosses.items} if "dim" in f}}')
        owners = {member.short for member in members}
        keys = [f.key for f in self.fields if (f.table or f.key) in owners]
        keys += [node.short for node in self.crosses.all if node.short in owners]
        fields = f"({self.crosses.described})" if self.crosses.all else "FEATURES"
        return call("table", f"{{name: {fields}[name] for name in {flat(strings(keys))}}}")

    def _vectors(self) -> Expr | None:
        """The modules of dense features with weights."""
        return self._by_kind("Vectors", VECTORS)

    def _columns(self) -> Expr | None:
        """The modules of numbers that are columns of v."""
        return self._by_kind("Numbers", SCALES)

    def _by_kind(self, modules: str, classes: dict[str, str]) -> Expr | None:
        """Modules of the kinds that occur."""
        own = [(kind, classes[kind]) for kind in self.kinds if kind in classes]
        return call(modules, mapping(own)) if own else None

    @property
    def _parts(self) -> Iterator[str]:
        """Lines that set the names of the parts of v, in order, and create dropout."""
        if self.crosses.all:
            yield from self.crosses.init(self._own("parts"))
        elif self.several:
            each = 'f.get("sequence", n) for n, f in FEATURES.items()'
            yield f"{INDENT * 2}{self._own('parts')} = dict.fromkeys({each})"
        yield from self.dropout.init

    def _own(self, attribute: str) -> str:
        return own_attribute(attribute, self.plain)

    def _plain_init(self) -> Iterator[str]:
        """Lines of `__init__` of a plain file: modules under their logical names."""
        yield from self.encoders.containers
        classes = {k: PLAIN[k].rpartition(".")[2] for k in self.kinds if k in PLAIN}
        make = f"{next(iter(classes.values()))}(field)"
        if len(classes) > 1:
            yield assign("kinds", mapping(list(classes.items())), 2)
            make = 'kinds[field["kind"]](field)'
        kind = make.removesuffix("(field)")
        if self.placed:
            several = all(field.at for field in self.fields)
            make = "Tables(kind, field)" + ("" if several else ' if "at" in field else kind(field)')
        yield f"{INDENT * 2}for name, field in FEATURES.items():"
        depth = 3
        conditions = ['"table" not in field'] if self.sharing else []
        conditions += ['field["kind"] != "weights"'] if "weights" in self.kinds else []
        if conditions:
            yield f"{INDENT * 3}if {' and '.join(conditions)}:"
            depth = 4
        if self.placed:
            yield f"{INDENT * depth}kind = {kind}"
        if any("." in field.key and not field.table and not field.weighs for field in self.fields):
            yield f'{INDENT * depth}path, _, last = name.rpartition(".")'
            yield f"{INDENT * depth}self.get_submodule(path).add_module(last, {make})"
        else:
            yield f"{INDENT * depth}self.add_module(name, {make})"
        yield from self.crosses.modules
        yield from self.encoders.init
        yield from self._parts

    # ------------------------------------------------------------ forward

    def _forward(self) -> Iterator[str]:
        if self.tables_needed and not self.plain and not self._at_once:
            yield f"{INDENT * 2}rows = self.rows(features)"
        yield from self.encoders.search(self._look)
        yield from self._plain_parts() if self.plain else self._embedded()
        yield from self.encoders.encoded
        yield from self.pools.forward
        named = self.several or self.crosses.all
        names = self._own("parts") if named else "FEATURES"
        each = f"parts[name] for name in {names}"
        yield from self.dropout.of_parts
        if self.user.names:
            yield from self.user.returned(names)
            return
        yield f"{INDENT * 2}return {self.dropout.of_v(f'torch.cat([{each}], dim=1)')}"

    @property
    def _at_once(self) -> bool:
        """Whether there is one table whose rows need no further steps."""
        return len(self.tables) == 1 and not self.encoders.searching

    def _rows(self) -> Iterator[str]:
        """Lines that find the rows of all values that have a table."""
        calls = {
            "hashed": ("hash_rows(features[name], n)", "name, n in self.hashed.items()"),
            "vocab": ("vocab_rows(features[name], n)", "name, n in self.vocab.items()"),
            "bucketized": (
                "bucket_rows(features[name], *cuts)",
                "name, cuts in self.boundaries.items()",
            ),
        }
        if self._shared_boundaries:
            calls["bucketized"] = (
                "bucket_rows(features[name], *self.boundaries[owner])",
                "name, owner in self.bucketized.items()",
            )
        found = [calls[kind] for kind in calls if kind in self.kinds]
        modules = {"fitted": "fitted in self.fitted", "words": "vocabulary in self.vocabularies"}
        own = [each for kind, each in modules.items() if kind in self.kinds]
        if own:
            if not found:
                yield f"{INDENT * 2}rows = {{}}"
        elif len(found) == 1 and not self.crosses.all:
            yield _by_name("return ", *found[0])
            return
        for i, (value, each) in enumerate(found):
            yield _by_name(f"rows {'|=' if i else '='} ", value, each)
        for each in own:
            yield f"{INDENT * 2}for {each}:"
            yield f"{INDENT * 3}rows |= {each.partition(' ')[0]}(features)"
        yield from self.crosses.rows
        yield f"{INDENT * 2}return rows"

    def _embedded(self) -> Iterator[str]:
        """Lines that compute the parts of v, except sequences."""
        found = []
        if "dense" in self.kinds and not self._vectors():
            known = "features[n].masked_fill(features[n].isnan(), 0.0)"
            found.append((known, "n in self.dense", "n"))
        elif "dense" in self.kinds:
            found.append(("nan_to_zero(features[name])", "name in self.dense", "name"))
        if "event_vector" in self.kinds:
            found.append(("nan_to_zero(features[n])", "n in self.event_vectors", "n"))
        if self._vectors():
            found.append(("vector(features[name])", "name, vector in self.vectors.items()", "name"))
        if self._columns():
            found.append(("number(features[name])", "name, number in self.numbers.items()", "name"))
        if len(self.tables) == 1:
            rows = "self.rows(features)" if self._at_once else "rows"
            yield f"{INDENT * 2}parts = self.table({rows})"
        elif self.tables:
            yield f"{INDENT * 2}parts = {{}}"
            yield f"{INDENT * 2}for table in self.tables:"
            yield f"{INDENT * 3}parts |= table(rows)"
        for i, (value, each, name) in enumerate(found):
            start = f"parts {'|=' if i or self.tables_needed else '='} "
            yield _by_name(start, value, each, name)

    def _plain_parts(self) -> Iterator[str]:
        path, each = "name", "name in FEATURES"
        if self.sharing:
            path, each = 'field.get("table", name)', "name, field in FEATURES.items()"
        if "weights" in self.kinds:
            each = 'name, field in FEATURES.items() if field["kind"] != "weights"'
        yield _by_name("parts = ", f"self.get_submodule({path})(features[name])", each)
        yield from self.crosses.plain_parts

    def _look(self, key: str) -> Expr:
        """The embeddings of a single tensor."""
        field = next(field for field in self.fields if field.key == key)
        value = f"features[{literal(key)}]"
        if self.plain:
            return call(f"self.get_submodule({literal(field.table or key)})", value)
        if field.kind == "event_vector":
            return call("nan_to_zero", value)
        owner = field.feature.owner
        at = next(i for i, table in enumerate(self.tables) if owner in {m.name for m in table})
        table = f"self.tables[{at}]" if len(self.tables) > 1 else "self.table"
        return call(f"{table}.peek", literal(key), f"rows[{literal(key)}]")

    def _condition(self, kinds: tuple[str, ...]) -> str:
        """The condition for fields of these kinds: "" if there are none, True if all are."""
        present = [kind for kind in self.kinds if kind in kinds]
        if len(present) == len(self.kinds):
            return "True"
        if len(present) == 1:
            return f'field["kind"] == {literal(present[0])}'
        return f'field["kind"] in {flat(strings(present))}' if present else ""


def _by_name(prefix: str, value: str, each: str, name: str = "name") -> str:
    """A dict with the `name` and value of each entry, on several lines if it does not fit."""
    line = f"{INDENT * 2}{prefix}{{{name}: {value} for {each}}}"
    if len(line) <= LINE:
        return line
    head, tail = f"{INDENT * 2}{prefix}{{", f"{INDENT * 2}}}"
    inner = f"{INDENT * 3}{name}: {value} for {each}"
    if len(inner) <= LINE:
        return f"{head}\n{inner}\n{tail}"
    each, condition, test = each.partition(" if ")
    lines = [f"{name}: {value}", f"for {each}", *([f"if {test}"] if condition else [])]
    return "\n".join([head, *(f"{INDENT * 3}{line}" for line in lines), tail])
