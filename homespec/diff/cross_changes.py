"""HS636 and HS637: changes of crosses, which callers do not pass."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import listed
from homespec.diagnostics import Finding, Label
from homespec.diff.breaks import Breaks
from homespec.diff.pair import Pair, both, change, inverse
from homespec.graph.feature_nodes import Feature
from homespec.graph.identity import SAME, Renames
from homespec.lower import Lowered
from homespec.schema.models import Spec


def is_cross(spec: Spec, name: str) -> bool:
    """Whether a feature of a spec is a cross, so that it has no tensor."""
    return name in spec.features and spec.features[name].kind == "cross"


@change("HS636", "cross-pairs", Breaks.CHECKPOINT)
def cross_pairs(pair: Pair) -> Iterator[Finding]:
    """A cross whose pairs have other rows of its table.

    The row of a pair follows from the two ids, their order, and the number of buckets. If one of
    the ids has a listed vocabulary, it follows from the position in the list. When one of these
    changes, each row belongs to other pairs, so the rows are dropped.
    """
    for match in pair.nodes(Feature):
        old, new = match
        assert isinstance(old, Feature)
        assert isinstance(new, Feature)
        if not (old.crossed and new.crossed):
            continue
        was, now = _pairs(old, pair.renames), _pairs(new, SAME)
        if was != now:
            yield both(match, f"`{new.short}` has {now}, had {was}", was, now)
            continue
        others = {
            name: before
            for before, name in zip(old.crossed, new.crossed, strict=True)
            if _texts(pair.old, before) != _texts(pair.new, name)
        }
        if others:
            message = f"{listed([*others])} has another list of ids, so the pairs of `{new.short}`"
            yield Finding(
                new.span,
                f"{message} have other rows",
                label="has other rows",
                related=tuple(
                    Label(pair.was_at(("features", before)), "listed otherwise")
                    for before in others.values()
                ),
            )


def _pairs(node: Feature, renames: Renames) -> str:
    names = " and ".join(f"`{renames.feature(name)}`" for name in node.crossed)
    return f"pairs of {names} in {node.rows - 1} buckets"


def _texts(side: Lowered, name: str) -> tuple[str, ...]:
    node = side.graph[f"features.{name}"]
    assert isinstance(node, Feature)
    return node.texts


@change("HS637", "crosses", Breaks.CHECKPOINT)
def crosses(pair: Pair) -> Iterator[Finding]:
    """A cross that is added, removed or renamed.

    Callers pass the same tensors as before, since the model computes a cross from them. Layers that
    read the input v get columns for a new cross, and lose those of one that is gone. If you only
    renamed it, declare that with `was`: its table and its columns are renamed with it.
    """
    before = inverse(pair.renames.features)
    for name in pair.new.spec.features:
        old = before.get(name, name)
        if not is_cross(pair.new.spec, name):
            continue
        if old not in pair.old.spec.features:
            yield Finding(
                pair.at(("features", name)),
                f"cross `{name}` is new",
                label="a new cross",
                related=(Label(pair.was_at(("features",)), "not here"),),
            )
        elif old != name and is_cross(pair.old.spec, old):
            yield pair.finding(
                ("features", old), ("features", name), f"cross `{old}` is called `{name}`",
                was=f"was `{old}`", now=f"now `{name}`",
            )  # fmt: skip
    for old in pair.old.spec.features:
        if is_cross(pair.old.spec, old) and pair.renames.feature(old) not in pair.new.spec.features:
            yield Finding(
                pair.at(("features",)),
                f"cross `{old}` is gone",
                label=f"no `{old}`",
                related=(Label(pair.was_at(("features", old)), "was here"),),
                help=pair.rename_help("features", old),
            )


CROSS_CHANGES = (cross_pairs, crosses)
