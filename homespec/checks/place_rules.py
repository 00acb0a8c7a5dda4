"""HS251 to HS254: the nodes of the task tree that features belong to."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import did_you_mean, listed
from homespec.diagnostics import Finding, Label, rule
from homespec.resolve import Resolved
from homespec.resolve.layers import Path
from homespec.resolve.places import EVERY, placed, places_of
from homespec.resolve.tree import TreeNode
from homespec.schema.identifiers import ROOT
from homespec.schema.models import Feature, Spec


def _entries(resolved: Resolved, name: str) -> Iterator[tuple[str, Path]]:
    """The words of a feature's `at`, and their places."""
    feature = resolved.spec.features[name]
    path: Path = ("features", name, "at")
    if isinstance(feature.at, str):
        yield feature.at, path
        return
    for index, word in enumerate(feature.at):
        yield word, (*path, index)


@rule("HS251", "unknown-place")
def unknown_place(resolved: Resolved) -> Iterator[Finding]:
    """`at` of a feature names something that is not a node of the task tree.

    A feature belongs to the root, which is called `shared`, or to groups and tasks. `tasks` stands
    for all tasks, and `groups` for all groups. A task that is a product of others has no node: its
    factors have.

    ```yaml
    features:
      genre: {id: {vocab: 20}, dim: 8, at: interaction}
    ```
    """
    spec = resolved.spec
    nodes = [name for name, task in spec.tasks.items() if not task.product]
    known = [ROOT, *spec.groups, *nodes, *(word for word in EVERY if getattr(spec, word))]
    for name in spec.features:
        for word, path in _entries(resolved, name):
            if word not in known:
                product = word in spec.tasks
                why = "is a product and has no node" if product else "is neither a task nor a group"
                factors = listed(spec.tasks[word].product) if product else ""
                otherwise = (
                    f"write its factors, {factors}" if product else f"there are {listed(known, 8)}"
                )
                yield Finding(
                    resolved.span(path),
                    f"`{name}` is at `{word}`, which {why}",
                    label="not a node of the tree",
                    help=otherwise if product else did_you_mean(word, known, otherwise),
                )


@rule("HS252", "place-of-table")
def place_of_table(resolved: Resolved) -> Iterator[Finding]:
    """A feature cannot have its table at these nodes of the task tree.

    Several nodes mean a table at each of them. So the feature is an `id` or `bucketize` feature,
    and the spec says how values become rows: boundaries and vocabularies that are fitted to data,
    and vectors from a file, belong to one table. A feature that is looked up in the table of
    another one reads this table, so it must be at or above the feature's own node. So must the two
    ids of a cross, and the features of a sequence. In all other cases, declare a feature for each
    node, each with the same `column`.

    ```yaml
    features:
      price:       {number: {}}
      price_order: {number: {}, column: price, at: order}
    ```
    """
    spec, root = resolved.spec, resolved.root
    for name, feature in spec.features.items():
        places = places_of(feature, root)
        if len(places) > 1 and (why := why_one_place(feature)):
            yield Finding(
                resolved.span(("features", name, "at")),
                f"`{name}` is at {len(places)} nodes, but {why}",
                label="more than one node",
                help=_for_each(name, feature),
            )
        for owner, path in _reads(spec, name):
            if owner in spec.features:
                yield from _out_of_reach(resolved, name, owner, path)


def _for_each(name: str, feature: Feature) -> str:
    """The remedy for a feature at several nodes; crosses have no column, and sequences several."""
    own = "declare a feature for each node, with a name of its own"
    if feature.kind == "cross":
        return f"{own} and the same `cross`"
    if feature.kind == "sequence":
        return f"{own} and the same columns, which `columns` of `sequence` names"
    return f"{own} and `column: {feature.column or name}`"


def why_one_place(feature: Feature) -> str:
    """Why a feature can belong to only one node; "" if it can belong to several."""
    if feature.kind not in ("id", "bucketize"):
        kinds = {
            "dense": "a dense feature",
            "number": "a number",
            "sequence": "a sequence",
            "cross": "a cross",
        }
        return f"{kinds.get(feature.kind, 'what is looked up in a shared table')} has one"
    if feature.quantiles or (feature.kind == "id" and feature.id.words):
        return "what is fitted to data belongs to one table"
    return "the vectors of a file belong to one table" if feature.from_ else ""


def _reads(spec: Spec, name: str) -> Iterator[tuple[str, Path]]:
    """The features that another needs: the owner of its table, its two ids, or its fields."""
    feature, path = spec.features[name], ("features", name)
    if feature.kind == "table":
        yield feature.table, (*path, "table")
    if feature.kind == "cross":
        for index, other in enumerate(feature.cross.of):
            yield other, (*path, "cross", "of", index)
    if feature.kind == "sequence":
        for index, field in enumerate(feature.sequence.of):
            yield field, (*path, "sequence", "of", index)
        for field, own in feature.sequence.with_.items():
            if own.table:
                yield own.table, (*path, "sequence", "with", field, "table")


_DOES = {"cross": "is a cross of", "sequence": "is a sequence of"}


def _out_of_reach(resolved: Resolved, name: str, owner: str, path: Path) -> Iterator[Finding]:
    """The table of `owner` is at several nodes, or at one that is not above the reader's."""
    spec, root = resolved.spec, resolved.root
    tables = placed(spec.features[owner], root)
    here = placed(spec.features[name], root)[0]
    if len(tables) == 1 and tables[0] in here.path:
        return
    where = f"is at `{tables[0].name}`"
    if len(tables) > 1:
        where = f"has {len(tables)} tables, at {listed([node.name for node in tables])}"
    does = _DOES.get(spec.features[name].kind, "reads the table of")
    does = "reads the table of" if path[-1] == "table" else does
    yield Finding(
        resolved.span(path),
        f"`{name}`, at `{here.name}`, {does} `{owner}`, which {where}",
        label="not the one table at or above its node",
        related=(Label(resolved.span(("features", owner, "at")), "the place of the table"),),
        help=_remedy(spec, name, owner, tables),
    )


def _remedy(spec: Spec, name: str, owner: str, tables: tuple[TreeNode, ...]) -> str:
    if len(tables) == 1:
        return f"put `{name}` at `{tables[0].name}` too, or `{owner}` at the root"
    column = spec.features[owner].column or owner
    return f"give `{owner}` one table, and declare features with `column: {column}` for other nodes"


@rule("HS253", "nothing-at-root")
def nothing_at_root(resolved: Resolved) -> Iterator[Finding]:
    """No feature is at the root of the task tree.

    The root's experts and gates read the features at the root alone. Without any they would read
    nothing. Leave `at` away for at least one feature, or add `shared` to its nodes.
    """
    spec, root = resolved.spec, resolved.root
    if not any(root in placed(feature, root) for feature in spec.features.values()):
        first = next(iter(spec.features))
        yield Finding(
            resolved.span(("features", first, "at")),
            "no feature is at the root, so its experts and gates have nothing to read",
            label="not at the root",
            help=f"leave `at` of `{first}` away, or add `shared` to it",
        )


@rule("HS254", "repeated-place")
def repeated_place(resolved: Resolved) -> Iterator[Finding]:
    """`at` of a feature lists a node twice.

    A feature has one table at a node. The words `tasks` and `groups` may contain nodes that are
    also listed by name.

    ```yaml
    features:
      user_id: {id: {buckets: 1000}, dim: 8, at: [shared, tasks]}
    ```
    """
    for name in resolved.spec.features:
        seen: set[str] = set()
        for word, path in _entries(resolved, name):
            if word in seen:
                yield Finding(
                    resolved.span(path),
                    f"`at` of `{name}` lists `{word}` twice",
                    label="again",
                    help="remove one of them",
                )
            seen.add(word)
