"""HS62x and HS63x: changes of the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from operator import attrgetter

from homespec.analysis.costs import weights_of
from homespec.checks.causes import listed
from homespec.diagnostics import Finding, Label
from homespec.diff.breaks import Breaks
from homespec.diff.cross_changes import is_cross
from homespec.diff.effect import encoder_of
from homespec.diff.pair import Match, Pair, both, change, inverse, moved
from homespec.graph.feature_nodes import Feature
from homespec.graph.identity import Renames
from homespec.graph.nodes import Node
from homespec.graph.sequences import Sequence
from homespec.lower import Lowered
from homespec.resolve.places import placed
from homespec.schema.input_tensors import input_tensors


def _old_features(pair: Pair) -> list[str]:
    """The old features under their new names."""
    return [pair.renames.feature(name) for name in pair.old.spec.features]


@change("HS620", "feature-added", Breaks.INTERFACE, Breaks.CHECKPOINT)
def feature_added(pair: Pair) -> Iterator[Finding]:
    """An input that the old spec does not have.

    Callers must pass it. Layers that read the input v get columns for it: `homespec migrate
    --new-input zero` starts them at 0, and outputs stay as they are.
    """
    for name in pair.new.spec.features:
        if name not in _old_features(pair) and not is_cross(pair.new.spec, name):
            yield Finding(
                pair.at(("features", name)),
                f"feature `{name}` is new",
                label="a new input",
                related=(Label(pair.was_at(("features",)), "not here"),),
            )


@change("HS621", "feature-removed", Breaks.INTERFACE, Breaks.CHECKPOINT)
def feature_removed(pair: Pair) -> Iterator[Finding]:
    """An input that the new spec does not have.

    Exported packages take inputs by position, so callers must change. The columns of weights that
    read it are dropped. If you only renamed it, declare that with `was`.
    """
    for name in pair.old.spec.features:
        gone = pair.renames.feature(name) not in pair.new.spec.features
        if gone and not is_cross(pair.old.spec, name):
            yield Finding(
                pair.at(("features",)),
                f"feature `{name}` was removed",
                label=f"no `{name}`",
                related=(Label(pair.was_at(("features", name)), "was here"),),
                help=pair.rename_help("features", name),
            )


@change("HS622", "feature-renamed", Breaks.INTERFACE, Breaks.CHECKPOINT)
def feature_renamed(pair: Pair) -> Iterator[Finding]:
    """An input that was renamed, as its `was` says: callers pass it under the new name.

    Columns and tables of weights are renamed with it. If the column of the data has kept its old
    name, name it with `column`.
    """
    for old in pair.old.spec.features:
        name = pair.renames.feature(old)
        both_are = is_cross(pair.old.spec, old) and is_cross(pair.new.spec, name)
        if name != old and name in pair.new.spec.features and not both_are:
            yield pair.finding(
                ("features", old), ("features", name), f"feature `{old}` was renamed to `{name}`",
                was=f"was `{old}`", now=f"now `{name}`",
            )  # fmt: skip


@change("HS623", "feature-order", Breaks.CHECKPOINT)
def feature_order(pair: Pair) -> Iterator[Finding]:
    """Inputs in another order.

    Callers pass inputs by name, but the columns of the first layer's weights follow their order,
    and so do the inputs of an exported package.
    """
    name = moved(_old_features(pair), pair.new.spec.features)
    if name:
        old = inverse(pair.renames.features).get(name, name)
        yield pair.finding(
            ("features", old), ("features", name),
            f"features are in another order, from `{name}` on", was="was here", now="is here",
        )  # fmt: skip


def _changed(
    pair: Pair, kind: type[Node], value: Callable[[Node], object], what: str
) -> Iterator[Finding]:
    for matches in pair.changed(kind, value):
        old, new = matches[0]
        was, now = value(old), value(new)
        if "" not in (was, now):
            yield both(matches[0], f"{what} of {_names(matches)} is {now}, was {was}", was, now)


def changed_features(pair: Pair, value: Callable[[Node], object], what: str) -> Iterator[Finding]:
    """The features that differ in a value; "" means that a feature has no such value."""
    yield from _changed(pair, Feature, value, what)


def _names(matches: list[Match]) -> str:
    names = [node.short for _, node in matches if isinstance(node, Feature | Sequence)]
    return listed(list(dict.fromkeys(names)))


@change("HS664", "feature-place", Breaks.CHECKPOINT)
def feature_place(pair: Pair) -> Iterator[Finding]:
    """A feature that belongs to other nodes of the task tree.

    Its table is kept, and of several tables those whose nodes stay. Layers that read the feature
    now get columns for it, which start at 0 by `homespec migrate --new-input zero`; those that no
    longer do lose theirs. So the logits of tasks on whose paths it no longer is change.
    """
    for old, feature in pair.old.spec.features.items():
        name = pair.renames.feature(old)
        if name not in pair.new.spec.features:
            continue
        now = [node.name for node in placed(pair.new.spec.features[name], pair.new.root)]
        before = placed(feature, pair.old.root)
        was = [pair.renames.place(node.name) for node in before]
        if set(was) != set(now):
            yield pair.finding(
                ("features", old, "at"), ("features", name, "at"),
                f"`{name}` is at {listed(now)}, was at {listed(was)}",
                was=f"was {', '.join(was)}", now=f"now {', '.join(now)}",
            )  # fmt: skip


@change("HS624", "input-kind", Breaks.INTERFACE, Breaks.CHECKPOINT)
def feature_kind(pair: Pair) -> Iterator[Finding]:
    """An input that is another kind of tensor: ids, numbers, a vector, or events.

    Callers must pass another tensor, and no weight of the old kind can be kept.
    """
    yield from _changed(pair, Feature, _tensor, "the input")
    for old, new in ((Feature, Sequence), (Sequence, Feature)):
        gone = {pair.renames.feature(n.short): n for n in pair.removed(old)}  # type: ignore[attr-defined]
        for node in pair.added(new):
            assert isinstance(node, Feature | Sequence)
            if node.short in gone:
                match = Match(gone[node.short], node)
                yield both(match, f"feature `{node.short}` is another kind", *map(_tensor, match))


def _tensor(node: Node) -> str:
    if isinstance(node, Sequence):
        return "a sequence of events"
    assert isinstance(node, Feature)
    kinds = {
        "id": "ids",
        "dense": f"vectors of {node.numbers}",
        "cross": "a cross, none of its own",
    }
    return kinds.get(node.source, "numbers")


@change("HS625", "feature-column", Breaks.INTERFACE)
def feature_column(pair: Pair) -> Iterator[Finding]:
    """An input that is read from another column of the data.

    The tensor that callers pass keeps the feature's name, but it is filled from another column.
    """
    was, now = (_columns(side) for side in (pair.old, pair.new))
    names = inverse(pair.renames.features)
    for name, column in now.items():
        head, dot, field = name.partition(".")
        old = names.get(head, head)
        before = was.get(f"{old}{dot}{field}")
        if before and before != column:
            yield pair.finding(
                ("features", old), ("features", head),
                f"the column of `{name}` is `{column}`, was `{before}`",
                was=f"was `{before}`", now=f"now `{column}`",
            )  # fmt: skip


def _columns(side: Lowered) -> dict[str, str]:
    return {tensor.name: tensor.column for tensor in input_tensors(side.spec)}


@change("HS626", "feature-width", Breaks.CHECKPOINT)
def feature_width(pair: Pair) -> Iterator[Finding]:
    """An embedding or a projection of another width.

    Its weights cannot be kept, and neither can the columns of the layers that read it.
    """
    yield from _changed(pair, Feature, attrgetter("width"), "the width")


@change("HS627", "feature-ids", Breaks.CHECKPOINT)
def feature_ids(pair: Pair) -> Iterator[Finding]:
    """A table of ids with another number of rows, or another way to look them up.

    A vocabulary that grows keeps its rows. A listed vocabulary keeps the rows of the texts that
    stay, in whatever order. Callers that number texts themselves must follow the new order. A
    fitted vocabulary keeps the rows of its ids, as far as the new table has rows for them. With
    another number of hash buckets, each row belongs to other ids, so the rows are dropped.
    """
    yield from _changed(pair, Feature, _ids, "the table")


def _ids(node: Node) -> str:
    assert isinstance(node, Feature)
    if node.source != "id" or node.table:
        return ""
    if node.texts:
        return f"the ids {', '.join(node.texts)}"
    if node.words:
        return f"up to {node.words} ids fitted to the data"
    return f"{node.rows - 1} {'buckets of hashed ids' if node.hashed else 'ids'}"


@change("HS628", "feature-boundaries", Breaks.CHECKPOINT)
def feature_boundaries(pair: Pair) -> Iterator[Finding]:
    """Numbers that are split into other intervals.

    Intervals that stay keep their rows. Rows of new intervals start fresh, and those of removed
    intervals are dropped.
    """
    for matches in pair.changed(Feature, lambda node: (node.boundaries, node.fitted)):  # type: ignore[attr-defined]
        old, new = matches[0]
        assert isinstance(old, Feature)
        assert isinstance(new, Feature)
        if old.source == new.source:
            was, now = _intervals(old), _intervals(new)
            kept = len({*_pairs(old)} & {*_pairs(new)})
            yield both(
                matches[0],
                f"the intervals of {_names(matches)} differ: {now}, was {was}; {kept} are the same",
                was, now,
            )  # fmt: skip


def _pairs(node: Feature) -> list[tuple[float, float]]:
    ends = (float("-inf"), *node.boundaries, float("inf"))
    return list(pairwise(ends)) if not node.fitted else []


def _intervals(node: Feature) -> str:
    return (
        f"{node.fitted + 1} quantiles" if node.fitted else f"{len(node.boundaries) + 1} intervals"
    )


@change("HS629", "shared-table", Breaks.CHECKPOINT)
def shared_table(pair: Pair) -> Iterator[Finding]:
    """A feature that is looked up in another feature's table, or in one of its own.

    Its old table is dropped, or a new one starts fresh. The rows of the shared table stay.
    """
    for matches in pair.changed(Feature, lambda node: node.table):  # type: ignore[attr-defined]
        old, new = matches[0]
        assert isinstance(old, Feature)
        assert isinstance(new, Feature)
        if _owner(pair, old) != new.table:
            was, now = (n.table.partition(".")[2] or "its own" for n in (old, new))
            message = f"{_names(matches)} is looked up in the table of {now}, was {was}"
            yield both(matches[0], message, was, now)
    for match in pair.nodes(Sequence):
        before, after = match
        assert isinstance(before, Sequence)
        assert isinstance(after, Sequence)
        tables = {field.name: _short(field.table) for field in after.fields}
        for field in before.fields:
            table = pair.renames.feature(_short(field.table))
            now = tables.get(field.name, table)
            if now != table:
                said = f"`{field.key}` is looked up in the table of `{now}`, was of `{table}`"
                yield both(match, said, table, now)


def _short(table: str) -> str:
    return table.partition(".")[2]


def _owner(pair: Pair, node: Feature) -> str:
    kind, _, name = node.table.partition(".")
    return f"{kind}.{pair.renames.feature(name)}" if name else ""


@change("HS630", "dense-options", Breaks.CHECKPOINT)
def dense_options(pair: Pair) -> Iterator[Finding]:
    """A dense feature with another projection or missing value, or a number with another scale.

    The weights of a new projection or a new learned vector start fresh, and those of a removed one
    are dropped. The scale of a number is fitted again.
    """
    yield from _changed(pair, Feature, _options, "the use")
    yield from _changed(pair, Feature, _as_number, "the use")


def _options(node: Node) -> str:
    assert isinstance(node, Feature)
    if node.source != "dense":
        return f"a number, scale {node.scale}" if node.source == "number" else ""
    missing = "a learned vector" if node.learned else "zeros"
    return f"{'projected' if node.projected else 'as it is'}, {missing} where missing"


def _as_number(node: Node) -> str:
    assert isinstance(node, Feature)
    uses = {"number": "a column of the input", "bucketize": "an embedding of its interval"}
    return uses.get(node.source, "")


@change("HS631", "sequence-events", Breaks.INTERFACE, Breaks.CHECKPOINT)
def sequence_events(pair: Pair) -> Iterator[Finding]:
    """Events with other fields, or another number of events: tensors of another shape or name.

    Callers must pass other tensors. The columns of the encoder that read a field follow it by name.
    """
    yield from _changed(pair, Sequence, attrgetter("max_len"), "the number of events")
    for match in pair.nodes(Sequence):
        old, new = match
        assert isinstance(old, Sequence)
        assert isinstance(new, Sequence)
        was, now = _fields(pair, old), [field.name for field in new.fields]
        if was != now:
            said = f"events of `{new.short}` have the fields {listed(now)}, had {listed(was)}"
            yield both(match, said, listed(was), listed(now))


def _fields(pair: Pair, old: Sequence) -> list[str]:
    """The fields of old events under their new names."""
    names = [field.name for field in old.fields]
    return [*map(pair.renames.feature, names[: old.shared]), *names[old.shared :]]


@change("HS632", "sequence-encoder", Breaks.CHECKPOINT)
def sequence_encoder(pair: Pair) -> Iterator[Finding]:
    """A sequence with another encoder, or with other options that change its weights.

    Weights whose names and widths both encoders share are kept. Weights that only the new one has
    start fresh.
    """
    yield from _encoders(pair, keeps_weights=False)


@change("HS633", "encoder-options", Breaks.NUMERICS)
def encoder_options(pair: Pair) -> Iterator[Finding]:
    """An encoder with other options but the same weights.

    Such options are the number of events that a search keeps, and the softmax. All weights are
    kept, but the encoder computes another vector.
    """
    yield from _encoders(pair, keeps_weights=True)


def _encoders(pair: Pair, keeps_weights: bool) -> Iterator[Finding]:
    """Encoders that differ: with the same weights, or with weights of other names and shapes."""
    for match in pair.nodes(Sequence):
        old, new = match
        assert isinstance(old, Sequence)
        assert isinstance(new, Sequence)
        was, now = encoder_of(old, pair.renames), encoder_of(new, Renames())
        if was == now or _fields(pair, old) != [field.name for field in new.fields]:
            continue  # widths that follow from the fields are not separate changes
        shapes = [{t.name: t.shape for t in weights_of(node)} for node in match]
        if (sorted(shapes[0].values()) == sorted(shapes[1].values())) == keeps_weights:
            words = _described(was), _described(now)
            yield both(match, f"the encoder of `{new.short}` is {words[1]}, was {words[0]}", *words)


def _described(encoder: object) -> str:
    """A description: `sim (by tab, top 20, heads 2, width 16)`."""
    given = {key: getattr(encoder, key) for key in getattr(encoder, "__slots__", ())}
    options = [
        f"{key} {', '.join(map(str, value)) if isinstance(value, tuple) else value}"
        for key, value in given.items() if value != "" and key not in ("eps", "momentum")
    ]  # fmt: skip
    return f"{type(encoder).__name__.lower()}" + (f" ({', '.join(options)})" if options else "")


FEATURE_CHANGES = (
    feature_added, feature_removed, feature_renamed, feature_order, feature_place, feature_kind,
    feature_column, feature_width, feature_ids, feature_boundaries, shared_table, dense_options,
    sequence_events, sequence_encoder, encoder_options,
)  # fmt: skip
