"""HS220 to HS223: features and fields of events that use the table of another feature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from homespec.checks.causes import did_you_mean
from homespec.diagnostics import Finding, Label, rule
from homespec.diagnostics.suggest import listing
from homespec.resolve import Resolved
from homespec.schema.embedded import OWNERS
from homespec.schema.input_tensors import event_key
from homespec.schema.models import Spec

WITHOUT_TABLE = {
    "dense": "dense and has none",
    "number": "a number and has none",
    "sequence": "a sequence and has none",
    "cross": "a cross and has rows for pairs",
}
"""Kinds of features whose table no other can use, and why."""


class Sharer(NamedTuple):
    """The owner of `table`, its location, and the feature that it names."""

    name: str
    path: tuple[str, ...]
    owner: str


def _sharing(spec: Spec) -> Iterator[Sharer]:
    """Features and fields of events with `table`."""
    for name, feature in spec.features.items():
        path = ("features", name)
        if feature.kind == "table":
            yield Sharer(name, (*path, "table"), feature.table)
        elif feature.kind == "sequence":
            for field, own in feature.sequence.with_.items():
                if own.kind == "table":
                    place = (*path, "sequence", "with", field, "table")
                    yield Sharer(event_key(name, field), place, own.table)


def _owners(spec: Spec) -> list[str]:
    return [name for name, feature in spec.features.items() if feature.kind in OWNERS]


def _others(spec: Spec) -> str:
    """The help that lists the features with tables."""
    owners = _owners(spec)
    if not owners:
        return "no feature has a table: make this one an `id` or `bucketize` feature itself"
    return f"features with tables are {listing(owners)}"


@rule("HS220", "unknown-table")
def unknown_table(resolved: Resolved) -> Iterator[Finding]:
    """`table` names a feature that is not declared.

    `table: video_id` looks a feature up in the table of the feature `video_id`, so that the same
    thing has the same embedding wherever it occurs: the last video watched and the candidate, or a
    user and the author of a comment. A field that only events have can name a feature in the same
    way.
    """
    spec = resolved.spec
    for name, path, owner in _sharing(spec):
        if owner not in spec.features:
            yield Finding(
                resolved.span(path),
                f"`{name}` is looked up in the table of `{owner}`, which is not a feature",
                label="not declared",
                help=did_you_mean(owner, _owners(spec), _others(spec)),
            )


@rule("HS221", "feature-without-table")
def feature_without_table(resolved: Resolved) -> Iterator[Finding]:
    """`table` names a feature that has no table.

    Tables belong to `id` and `bucketize` features. Numbers and dense vectors are columns of the
    input themselves, and a sequence uses the tables of the features listed in its `of`. The rows of
    a cross belong to pairs.
    """
    spec = resolved.spec
    for name, path, owner in _sharing(spec):
        kind = spec.features[owner].kind if owner in spec.features else ""
        if kind in WITHOUT_TABLE:
            yield Finding(
                resolved.span(path),
                f"`{name}` is looked up in the table of `{owner}`, which is {WITHOUT_TABLE[kind]}",
                label="no rows of single ids" if kind == "cross" else "no table",
                related=(Label(resolved.span(("features", owner), key=True), "declared here"),),
                help=_others(spec),
            )


@rule("HS222", "table-of-table")
def table_of_table(resolved: Resolved) -> Iterator[Finding]:
    """`table` names a feature that is itself looked up in another feature's table.

    A table has one owner, which says how many rows it has, how ids become rows and how wide it is.
    Every feature that shares it names the owner, so that you never have to follow a chain.
    """
    spec = resolved.spec
    for name, path, other in _sharing(spec):
        way = [name, *_way(spec, other)]
        if len(way) > 2 and way[-1] in spec.features and len(set(way)) == len(way):
            yield Finding(
                resolved.span(path),
                f"`{name}` is looked up in the table of `{other}`, which does not have one",
                label=f"the table is that of `{way[2]}`",
                related=(Label(resolved.span(("features", other, "table")), "borrowed here"),),
                help=f"write `table: {way[-1]}`"
                if spec.features[way[-1]].kind in OWNERS
                else _others(spec),
            )


@rule("HS223", "table-cycle")
def table_cycle(resolved: Resolved) -> Iterator[Finding]:
    """Features are looked up in each other's tables in a cycle, so none of them has a table.

    One of them must be the owner: an `id` or `bucketize` feature with a `dim`, which the others
    name. The message prints the cycle, starting at its first feature in the file.
    """
    reported: set[str] = set()
    for name, feature in resolved.spec.features.items():
        if feature.kind != "table":
            continue
        way = _way(resolved.spec, name)
        if way[-1] != name or name in reported:
            continue
        reported.update(way)
        loop = " → ".join(way)
        yield Finding(
            resolved.span(("features", way[-2], "table")),
            f"`{name}` is looked up in its own table"
            if len(way) == 2
            else f"features are looked up in each other's tables: {loop}",
            label="no owner" if len(way) == 2 else f"leads back to `{name}`",
            related=tuple(
                Label(resolved.span(("features", each, "table")), f"`{each}` has no table")
                for each in way[:-2]
            ),
            help=f"make one of them the owner, for example `{name}: {{id: {{buckets: 100000}}, "
            "dim: 16}`",
        )


def _way(spec: Spec, name: str) -> list[str]:
    """The chain of features from `name`, each named by the previous one.

    It ends with an owner, an undeclared name, or the first repetition.
    """
    way = [name]
    while way[-1] in spec.features and spec.features[way[-1]].kind == "table":
        following = spec.features[way[-1]].table
        way.append(following)
        if following in way[:-1]:
            break
    return way
