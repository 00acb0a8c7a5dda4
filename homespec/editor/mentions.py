"""Editor: where a spec declares tasks, groups and features, and where it mentions them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from homespec.editor.cursor import Path, value_at
from homespec.editor.open_specs import Related
from homespec.resolve.places import EVERY
from homespec.schema.identifiers import ROOT
from homespec.source import Document, Node, Value
from homespec.source.columns import with_columns

Kind = Literal["task", "group", "feature"]
Kinds = tuple[Kind, ...]


class Place(NamedTuple):
    """A place of the language that holds names: a key or a value at a path with wildcards."""

    path: tuple[str, ...]
    kinds: Kinds
    on_key: bool = False
    declares: bool = False
    words: tuple[str, ...] = ()
    """Words of the language that may also be there, such as `shared`, the name of the root."""


ANY, ITEM = "*", "#"
NODE: Kinds = ("group", "task")

FEATURE = Place(("features", ANY), ("feature",), on_key=True, declares=True)

GATES = (
    ("gates", ANY),
    ("gates", ANY, ANY),
    ("gates", ANY, ITEM, ANY),
    ("layers", ITEM, "gates", ANY),
)
"""The sections of gates, which list features that they read."""

STATES = ("path", "own", "v")
"""What gates read beside features."""

PLACED = (ROOT, *EVERY)
"""Where features may be beside nodes by name."""

PLACES = (
    Place(("tasks", ANY), ("task",), on_key=True, declares=True),
    Place(("groups", ANY), ("group",), on_key=True, declares=True),
    FEATURE,
    Place(("groups", ANY, ITEM), ("task", "group")),
    Place(("groups", ANY, "members", ITEM), ("task", "group")),
    Place(("tasks", ANY, "where"), ("task",)),
    Place(("tasks", ANY, "product", ITEM), ("task",)),
    Place(("features", ANY, "at"), NODE, words=PLACED),
    Place(("features", ANY, "at", ITEM), NODE, words=PLACED),
    Place(("features", ANY, "table"), ("feature",)),
    Place(("features", ANY, "cross", "of", ITEM), ("feature",)),
    Place(("features", ANY, "sequence", "of", ITEM), ("feature",)),
    Place(("features", ANY, "sequence", "with", ANY, "table"), ("feature",)),
    Place(("features", ANY, "sequence", "encoder", "sim", "by"), ("feature",)),
    Place(("features", ANY, "sequence", "columns", ANY), ("feature",), on_key=True),
    Place(("experts", ANY, "nodes", ANY), NODE, on_key=True),
    Place(("experts", ANY, ITEM, "nodes", ANY), NODE, on_key=True),
    Place(("layers", ITEM, "experts", ANY), NODE, on_key=True, words=(ROOT,)),
    Place(("layers", ITEM, "outputs", ITEM), NODE, words=(ROOT,)),
    *(
        Place((*path, key, ITEM), ("feature",), words=STATES)
        for path in GATES
        for key in ("input", "detach")
    ),
    Place(("expect", "isolated", ITEM, ITEM), NODE),
    Place(("expect", "reads", ANY), NODE, on_key=True),
    Place(("expect", "reads", ANY, ITEM), NODE, words=(ROOT,)),
    Place(("expect", "except_through", ITEM), NODE, words=(ROOT,)),
)
"""All places. A new key of the language that holds names needs an entry here."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A name in a text, and the kinds of thing that it may name there."""

    name: str
    place: Place
    path: Path
    node: Node

    @property
    def range(self) -> tuple[int, int]:
        """The offsets of the name, including quotes."""
        if self.place.on_key:
            return self.node.key_start, self.node.key_end
        return self.node.start, self.node.end


def mentions(document: Document) -> Iterator[Mention]:
    """All mentions in a document, in the order of the text of each section.

    A feature that an entry with `columns` lists is declared there, by its column.
    """
    if document.data is not None:
        yield from _below(document.data, document.root, (), PLACES)
        yield from _columns(document)


def mentions_of(
    name: str, kinds: Kinds, related: Sequence[Related]
) -> list[tuple[Related, Mention]]:
    """The mentions of one thing in the first spec, in its bases, and in specs that share them.

    A spec shares it if both have a file in common that mentions it: two specs with one base can
    each have a task of the same name. A feature and a task may also share a name.
    """
    found = [
        (spec, mention)
        for spec in related
        for mention in mentions(spec.own)
        if mention.name == name and set(mention.place.kinds) & set(kinds)
    ]
    shared = {spec.place for spec, _ in found} & related[0].chain
    return [(spec, mention) for spec, mention in found if spec.chain & shared]


def places_at(path: Path, on_key: bool) -> list[Place]:
    """The places of the language that match a path, of a key or of a value."""
    return [
        place
        for place in PLACES
        if place.on_key == on_key
        and len(place.path) == len(path)
        and all(map(_fits, place.path, path))
    ]


def mention_at(document: Document, offset: int) -> Mention | None:
    """The mention at the cursor."""
    found = (m for m in mentions(document) if m.range[0] <= offset <= m.range[1])
    return next(found, None)


def declared(data: Value, kind: Kind) -> list[str]:
    """The names of this kind that a spec declares, in order."""
    section = data.get(f"{kind}s") if isinstance(data, dict) else None
    return list(section) if isinstance(section, dict) else []


def _columns(document: Document) -> Iterator[Mention]:
    """The features of entries with `columns`, if these can be read."""
    whole = with_columns(document)
    for name in whole.entries:
        yield Mention(name, FEATURE, ("features", name), whole.root.parts["features"].parts[name])


def _below(value: Value, node: Node, path: Path, places: tuple[Place, ...]) -> Iterator[Mention]:
    for segment, part in node.parts.items():
        here = (*path, segment)
        fitting = tuple(p for p in places if _fits(p.path[len(path)], segment))
        inner = value_at(value, segment)
        for place in fitting:
            name = segment if place.on_key else inner
            if len(place.path) == len(here) and isinstance(name, str) and name != ROOT:
                yield Mention(name, place, here, part)
        deeper = tuple(p for p in fitting if len(p.path) > len(here))
        if deeper:
            yield from _below(inner, part, here, deeper)


def _fits(pattern: str, segment: str | int) -> bool:
    return pattern == (ITEM if isinstance(segment, int) else segment) or (
        pattern == ANY and isinstance(segment, str)
    )
