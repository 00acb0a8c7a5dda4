"""Stage 7, emit: sequences of events, from their tensors to their part of v."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from homespec.emit.following import FUNCTIONS
from homespec.emit.layout import (
    INDENT,
    Expr,
    assign,
    call,
    flat,
    literal,
    mapping,
    sequence,
    then,
)
from homespec.emit.stacks import start_of
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature
from homespec.graph.once import is_once
from homespec.graph.sequences import Dien, Din, Mean, Sequence, Sim, Twin

Look = Callable[[str], Expr]
"""Returns the code that looks up the embeddings of one tensor."""
ROWS = "count"
"""The variable of a forward that holds how many candidates there are."""


class Encoders:
    """The sequences of a graph, in a file with a module for each feature (`plain`) or without."""

    def __init__(self, graph: Graph, plain: bool, inference: bool) -> None:
        self.all = graph.of(Sequence)
        self.modules = [node for node in self.all if not isinstance(node.encoder, Mean)]
        self.searching = [node for node in self.all if isinstance(node.encoder, Sim | Twin)]
        self.plain, self.inference = plain, inference
        self.features = {feature.name: feature for feature in graph.of(Feature)}
        self.user = graph.user

    @property
    def scored(self) -> bool:
        """Whether events are looked up before a search."""
        return any(_is_scored(node) for node in self.all)

    @property
    def blocks(self) -> Iterator[str]:
        """Addresses of the required blocks."""
        mode = "__inference" if self.inference else ""
        if self.modules and not self.plain:
            yield "events.Encoders"
        for node in self.all:
            match node.encoder:
                case Mean():
                    yield "events.mean_of_events"
                case Din():
                    yield f"din.{_class(node)}"
                    if _has_dice(node):
                        yield f"din.EventDice{mode}"
                    _, forms = _start(node.encoder)
                    yield from (f"din.Din__{form}" for form in forms)
                case Dien():
                    yield from ("dien.Dien", f"dien.Gru{mode}")
                case Sim() | Twin():
                    yield f"attention.{_class(node)}"
                    yield "events.picked"
                    if _has_vectors(node, self.features):
                        yield "events.picked_vectors"
                    yield "events.best" if _is_scored(node) else "events.latest"
            match node.encoder:
                case Sim(by=by):
                    yield "events.same" if by else "events.inner"

    # ------------------------------------------------------------ __init__

    @property
    def init(self) -> Iterator[str]:
        """Lines of `__init__` that create the encoders."""
        if self.plain:
            for node in self.modules:
                yield assign(f'self.{node.short}["encoder"]', self._make(node), 2)
        elif self.modules:
            encoders = mapping([(node.short, self._make(node)) for node in self.modules])
            yield assign("self.encoders", call("Encoders", encoders), 2)

    @property
    def containers(self) -> Iterator[str]:
        """Lines that create the module with an encoder and the tables that only events have."""
        for node in self.all:
            if node.own or node in self.modules:
                yield assign(f"self.{node.short}", call("nn.ModuleDict"), 2)

    def _make(self, node: Sequence) -> Expr:
        """The encoder's module."""
        widths = (str(node.query_width), str(node.event_width))
        match node.encoder:
            case Din(hidden=hidden, eps=eps, momentum=momentum, activation=activation) as din:
                layers = sequence([str(width) for width in hidden], "[]")
                if _has_dice(node):
                    dice = literal((eps,) if self.inference else (eps, momentum))
                    return call(_class(node), *widths, layers, dice=dice)
                learned = activation == "prelu" and hidden
                own = {} if learned else {"activation": FUNCTIONS.get(activation, "F.relu")}
                tail, _ = _start(din)
                return replace(call(_class(node), *widths, layers, **own), tail=tail)
            case Dien(width=width):
                return call("Dien", *widths, str(width))
            case Sim(width=width, heads=heads) | Twin(width=width, heads=heads):
                return call(_class(node), *widths, str(width), str(heads))
            case Mean():
                raise AssertionError("a mean has no weights")

    # ------------------------------------------------------------ forward

    def search(self, look: Look) -> Iterator[str]:
        """Lines that search the events to weigh, and replace all events by them."""
        if self.searching:
            yield f"{INDENT * 2}masks = {{}}"
        for node in self.searching:
            assert isinstance(node.encoder, Sim | Twin)
            top = node.encoder.top
            yield f"{INDENT * 2}# {node.short}: the events to weigh, {top} of {node.max_len}"
            if _is_scored(node):
                yield from self._scores(node, look)
                found: Expr = call("best", "scores_BL", self._mask(node), str(top))
            else:
                assert isinstance(node.encoder, Sim)
                by = node.encoder.by
                key = next(f.key for f in node.fields if f.name == by)
                own = _of(by) + (f".expand({ROWS})" if self._repeated(node, by) else "")
                hits = call(f"({self._mask(node)}) & same", _of(key), own)
                yield assign("hits_BL", hits, 2)
                found = call("latest", "hits_BL", str(top))
            yield assign(f"at_BK, masks[{literal(node.short)}]", found, 2)
            if self.plain:
                pick = call("features | picked", "features", self._looked_up(node), "at_BK")
                yield assign("features", pick, 2)
            else:
                vectors = _has_vectors(node, self.features)  # which have no rows
                names = f"[n {_each_field(node, 'rows' if vectors else 'FEATURES')}]"
                pick = call("picked", "rows", names, "at_BK")
                yield f"{INDENT * 2}rows |= {flat(pick)}"
            if _has_vectors(node, self.features):
                names = f'[n {_each_field(node)} and "numbers" in FEATURES[n]]'
                if not self.plain:
                    names = f"[n {_each_field(node, 'self.event_vectors')}]"
                pick = call("features | picked_vectors", "features", names, "at_BK")
                yield assign("features", pick, 2)

    def _scores(self, node: Sequence, look: Look) -> Iterator[str]:
        """Lines that score all events without gradients; only the selected events get some."""
        both = node.fields[: node.shared]
        read = both if isinstance(node.encoder, Sim) else node.fields
        of_candidate = [self._for_each(node, f.name, look(f.name)) for f in both]
        of_events = [look(field.key) for field in read]
        score = "inner" if isinstance(node.encoder, Sim) else f"{self._module(node)}.scores"
        yield f"{INDENT * 2}with torch.no_grad():"
        yield assign("q_BQ", call("torch.cat", sequence(of_candidate, "[]"), dim="-1"), 3)
        events = call("torch.cat", sequence(of_events, "[]"), dim="-1")
        yield assign("x_BLE", then(events, self._cast(node, "q_BQ")) if read != both else events, 3)
        yield assign("scores_BL", call(score, "q_BQ", "x_BLE"), 3)

    @property
    def encoded(self) -> Iterator[str]:
        """Lines that add the sequences' parts of v to `parts`."""
        for node in self.all:
            events: Expr = call("torch.cat", f"[parts[n] {_each_field(node)}]", dim="-1")
            cast = self._cast(node, f"parts[{literal(node.fields[0].key)}]")
            events = then(events, cast) if cast else events
            searched = isinstance(node.encoder, Sim | Twin)
            mask = f"masks[{literal(node.short)}]" if searched else self._mask(node)
            target = f"parts[{literal(node.short)}]"
            if isinstance(node.encoder, Mean):
                yield assign(target, call("mean_of_events", events, mask), 2)
                continue
            names = [field.name for field in node.fields[: node.shared]]
            both = [self._for_each(node, n, f"parts[{literal(n)}]") for n in names]
            query = call("torch.cat", sequence(both, "[]"), dim="-1")
            yield assign(target, call(self._module(node), query, events, mask), 2)

    def _repeated(self, node: Sequence, field: str) -> bool:
        """Whether a feature that events are compared with is the user's, but others are not."""
        return field in self.user and not is_once(node, self.user)

    def _for_each(self, node: Sequence, field: str, value: Expr) -> Expr:
        """The embedding of such a feature, a row for each candidate."""
        return then(value, f".expand({ROWS}, -1)") if self._repeated(node, field) else value

    def _looked_up(self, node: Sequence) -> str:
        """The tensors of a sequence that are looked up in tables, as an expression."""
        only = ' and "numbers" not in FEATURES[n]' if _has_vectors(node, self.features) else ""
        return f"[n {_each_field(node)}{only}]"

    def _cast(self, node: Sequence, like: str) -> str:
        """The end of an expression for events whose vectors need the type of the embeddings."""
        return f".to({like}.dtype)" if _has_vectors(node, self.features) else ""

    def _mask(self, node: Sequence) -> str:
        """The mask of existing events, from their first field."""
        tensor = _of(node.fields[0].key)
        is_id = self.features[node.fields[0].table].source == "id"
        return f"{tensor} != -1" if is_id else f"~{tensor}.isnan()"

    def _module(self, node: Sequence) -> str:
        if self.plain:
            return f'self.{node.short}["encoder"]'
        return f"self.encoders[{literal(node.short)}]"


def own_attribute(name: str, plain: bool) -> str:
    """An attribute of `Features`.

    In a plain file, attributes without an underscore are features.
    """
    return f"self.{'_' if plain else ''}{name}"


def _class(node: Sequence) -> str:
    """The class of an encoder with weights."""
    match node.encoder:
        case Din(softmax=softmax):
            learned = node.encoder.activation == "prelu" and node.encoder.hidden
            kind = "Dice" if _has_dice(node) else "PReLU" if learned else ""
            return f"Din{kind}{'Softmax' if softmax else ''}"
        case Twin():
            return "TwinCross" if node.event_width > node.query_width else "Twin"
        case encoder:
            return type(encoder).__name__


def _is_scored(node: Sequence) -> bool:
    encoder = node.encoder
    return isinstance(encoder, Twin) or (isinstance(encoder, Sim) and not encoder.by)


def _has_dice(node: Sequence) -> bool:
    encoder = node.encoder
    return isinstance(encoder, Din) and encoder.activation == "dice" and bool(encoder.hidden)


def _start(din: Din) -> tuple[str, list[str]]:
    """The call that initialises its Linears for the activation after them, and its variant."""
    return start_of(din.starts, (0, *din.hidden, 1), layered=din.activation == "prelu")


def _has_vectors(node: Sequence, features: dict[str, Feature]) -> bool:
    """Whether a field of the events is a vector of the data."""
    return any(features[field.table].source == "dense" for field in node.own)


def _each_field(node: Sequence, of: str = "FEATURES") -> str:
    return f'for n in {of} if n.startswith("{node.short}.")'


def _of(key: str) -> str:
    return f"features[{literal(key)}]"
