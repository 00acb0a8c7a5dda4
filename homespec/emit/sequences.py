"""Stage 6, emit: sequences of events, from their tensors to their share of v."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from homespec.emit.layout import (
    INDENT,
    Expr,
    assign,
    call,
    lay,
    literal,
    mapping,
    sequence,
    strings,
)
from homespec.graph import Graph
from homespec.graph.nodes import Feature
from homespec.graph.sequences import Dien, Din, Encoder, Mean, Sequence, Sim, Twin

ACTIVATIONS = {"relu": "F.relu", "swish": "F.silu"}
Look = Callable[[Feature, str], Expr]
"""How the embeddings of the values under a key are looked up in the table of a feature."""


class Events:
    """The sequences of a graph; `plain` modules or batched tables hold their weights."""

    def __init__(self, graph: Graph, plain: bool, inference: bool) -> None:
        self.all = graph.of(Sequence)
        self.plain = plain
        self.inference = inference
        self.tables = {feature.name: feature for feature in graph.of(Feature)}

    @property
    def look_ups(self) -> dict[str, Feature]:
        """The features in whose tables the fields are looked up, by the keys of the tensors."""
        return {f.key: self.tables[f.table] for node in self.all for f in node.fields}

    @property
    def own(self) -> set[str]:
        """Names of the nodes of tables that only events have."""
        return {field.table for node in self.all for field in node.own}

    def shared(self, held: Mapping[str, str]) -> list[tuple[str, str]]:
        """Which fields of events are looked up in the parts of which features of a table.

        `held` are the short names of the features in the table, by those of their nodes.
        """
        pairs = [(key, held[f.name]) for key, f in self.look_ups.items() if f.name in held]
        return [(key, part) for key, part in pairs if key != part]

    def context(self, look: Look, embedding: Callable[[Feature], Expr]) -> dict[str, Any]:
        """What the templates need. `embedding` is a plain module for what only events have."""
        encoders = [node.encoder for node in self.all]
        searches = [encoder for encoder in encoders if isinstance(encoder, Sim)]
        units = [encoder for encoder in encoders if isinstance(encoder, Din)]
        return {
            "sequences": bool(self.all),
            "encoders": {type(encoder).__name__ for encoder in encoders},
            "hard": any(encoder.by for encoder in searches),
            "soft": not all(encoder.by for encoder in searches),
            "scored": not all(isinstance(e, Sim) and e.by for e in encoders if _searches(e)),
            "normalised": any(_is_normalised(encoder) for encoder in encoders),
            "softmax": any(unit.softmax for unit in units),
            "dice": any(_has_dice(node) for node in self.all),
            "elementwise": any(unit.hidden and unit.activation != "dice" for unit in units),
            "activated": any(unit.hidden and unit.activation == "swish" for unit in units),
            "exists": [_exists(node, self.tables[node.fields[0].table]) for node in self.all],
            "search": [line for node in self.all for line in self._search(node, look)],
            "encoded": [assign(*self._encoded(node), 2) for node in self.all],
            "modules": self._modules(embedding),
        }

    @property
    def logical(self) -> list[tuple[str, str]]:
        """The weights of encoders in the optimised form, each with its whole name."""
        return [
            (f"encoders.{node.short}.{name}", f"features.{node.short}.encoder.{name}")
            for node in self.all
            for name in tensors_of(node)
        ]

    def _module(self, node: Sequence) -> str:
        if self.plain:
            return f"self.{node.short}.encoder"
        return f"self.encoders[{literal(node.short)}]"

    def _modules(self, embedding: Callable[[Feature], Expr]) -> list[str]:
        """Lines of `__init__`."""
        makes = {
            node: make for node in self.all if (make := _make(node, self.inference)) is not None
        }
        if not self.plain:
            entries = [(node.short, make) for node, make in makes.items()]
            if not entries:
                return []
            return [assign("self.encoders", call("nn.ModuleDict", mapping(entries)), 2)]
        lines = []
        for node in self.all:
            own = [(f.name, embedding(self.tables[f.table])) for f in node.own]
            own += [("encoder", makes[node])] if node in makes else []
            lines.append(assign(f"self.{node.short}", call("nn.ModuleDict", mapping(own)), 2))
        return lines

    def _search(self, node: Sequence, look: Look) -> list[str]:
        """Lines that find the events to weigh and put them in the place of all events."""
        encoder = node.encoder
        if not isinstance(encoder, Sim | Twin):
            return []
        exists = f"exists[{literal(node.short)}]"
        lines = [
            f"{INDENT * 2}# {node.short}: the events to weigh, {encoder.top} of {node.max_len}"
        ]
        if isinstance(encoder, Sim) and encoder.by:
            key = next(f.key for f in node.fields if f.name == encoder.by)
            same = call("same", _of(key), _of(encoder.by))
            lines.append(assign("hits_BL", call(exists + " & same", *same.args), 2))
            found: Expr = call("latest", "hits_BL", str(encoder.top))
        else:
            lines += self._scores(node, look)
            found = call("best", "scores_BL", exists, str(encoder.top))
        keys = strings([field.key for field in node.fields])
        return [
            *lines,
            assign(f"at_BK, {exists}", found, 2),
            assign("features", call("features | picked", "features", keys, "at_BK"), 2),
        ]

    def _scores(self, node: Sequence, look: Look) -> list[str]:
        """Lines that score all events without a gradient: only what is found will have one."""
        both = node.fields[: node.shared]
        read = both if isinstance(node.encoder, Sim) else node.fields
        of_candidate = [look(self.tables[field.table], field.name) for field in both]
        of_events = [look(self.tables[field.table], field.key) for field in read]
        score = "inner" if isinstance(node.encoder, Sim) else f"{self._module(node)}.scores"
        return [
            f"{INDENT * 2}with torch.no_grad():",
            assign("q_BQ", call("torch.cat", sequence(of_candidate, "[]"), dim="-1"), 3),
            assign("x_BLE", call("torch.cat", sequence(of_events, "[]"), dim="-1"), 3),
            assign("scores_BL", call(score, "q_BQ", "x_BLE"), 3),
        ]

    def _encoded(self, node: Sequence) -> tuple[str, Expr]:
        """The sequence's share of v."""
        events = call("joined", "parts", *(literal(field.key) for field in node.fields))
        exists = f"exists[{literal(node.short)}]"
        target = f"parts[{literal(node.short)}]"
        if isinstance(node.encoder, Mean):
            return target, call("mean_of_events", events, exists)
        both = (literal(field.name) for field in node.fields[: node.shared])
        return target, call(self._module(node), call("joined", "parts", *both), events, exists)


def tensors_of(node: Sequence) -> list[str]:
    """Names of an encoder's parameters and buffers below the encoder."""
    match node.encoder:
        case Mean():
            return []
        case Din(hidden=hidden, activation=activation, softmax=softmax):
            names = []
            dice = ("dice.alpha", "dice.running_mean", "dice.running_var")
            for i in range(len(hidden)):
                parts = ("weight", "bias", *(dice if activation == "dice" else ()))
                names += [f"layers.{i}.{part}" for part in parts]
            return [*names, "out.weight"] if softmax else [*names, "out.weight", "out.bias"]
        case Dien():
            parts = ("inputs.weight", "inputs.bias", "states.weight")
            grus = [f"{gru}.{part}" for gru in ("extractor", "evolution") for part in parts]
            return [*grus, "attention.weight"]
        case Sim():
            return ["query.weight", "key.weight"]
        case Twin():
            crossed = node.event_width > node.query_width
            parts = ("query", "key", *(("cross",) if crossed else ()), "value", "out")
            return [f"{part}.weight" for part in parts]


def _make(node: Sequence, inference: bool) -> Expr | None:
    """The encoder's module; a mean has none. Momentum is for training alone."""
    widths = (str(node.query_width), str(node.event_width))
    match node.encoder:
        case Mean():
            return None
        case Din(hidden=hidden, activation=activation, softmax=softmax):
            options: dict[str, Expr] = {"softmax": "True"} if softmax else {}
            if _has_dice(node):
                statistics = (node.encoder.eps,) if inference else _statistics(node.encoder)
                options["dice"] = literal(statistics)
            elif hidden and activation != "relu":
                options["activation"] = ACTIVATIONS[activation]
            return call("Din", *widths, sequence([str(w) for w in hidden], "[]"), **options)
        case Dien(width=width):
            return call("Dien", *widths, str(width))
        case Sim(width=width, heads=heads) | Twin(width=width, heads=heads):
            return call(type(node.encoder).__name__, *widths, str(width), str(heads))


def _statistics(encoder: Din) -> tuple[float, float]:
    return encoder.eps, encoder.momentum


def _searches(encoder: Encoder) -> bool:
    return isinstance(encoder, Sim | Twin)


def _is_normalised(encoder: Encoder) -> bool:
    return encoder.softmax if isinstance(encoder, Din) else not isinstance(encoder, Mean)


def _has_dice(node: Sequence) -> bool:
    encoder = node.encoder
    return isinstance(encoder, Din) and encoder.activation == "dice" and bool(encoder.hidden)


def _exists(node: Sequence, first: Feature) -> str:
    """An entry of a dict by sequence: which events are there, by their first field."""
    tensor = _of(node.fields[0].key)
    there = f"{tensor} != -1" if first.source == "id" else f"~{tensor}.isnan()"
    return lay(f"{literal(node.short)}: ", there, 3, ",")


def _of(key: str) -> str:
    return f"features[{literal(key)}]"
