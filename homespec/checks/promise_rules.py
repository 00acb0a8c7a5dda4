"""HS312 to HS315: checks of the promises under `expect` on the graph."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import and_others, did_you_mean
from homespec.checks.promise_budget import LIMITS, Part, largest, over
from homespec.checks.promise_ways import in_words, labels, mixer
from homespec.checks.promises import Readers, Reads, Tree
from homespec.diagnostics import Finding, Label, Span, rule
from homespec.diagnostics.suggest import listing
from homespec.graph.nodes import ExpertSet, Mix, Node
from homespec.lower import Lowered
from homespec.resolve import Resolved
from homespec.resolve.layers import Path
from homespec.schema.identifiers import ROOT

MANY = 12
"""Maximum number of names in a remedy."""


@rule("HS315", "unknown-promise")
def unknown_promise(resolved: Resolved) -> Iterator[Finding]:
    """A promise names a node that the task tree does not have, or names a node twice.

    `isolated` and `reads` take tasks and groups; `except_through` also takes the root, `shared`. A
    node and a group that contains it share the group's experts by definition, so they cannot be
    isolated from each other. `shared` experts serve all tasks.
    """
    expect, tree = resolved.spec.expect, Tree(resolved)
    known = dict.fromkeys((*resolved.spec.tasks, *resolved.spec.groups))
    nodes = {**known, ROOT: None}
    places: list[tuple[Path, str, dict[str, None], bool]] = []
    for index, names in enumerate(expect.isolated):
        path: Path = ("expect", "isolated", index)
        places += [((*path, i), name, known, False) for i, name in enumerate(names)]
        yield from _overlapping(resolved, tree, path, names)
    for name, owners in expect.reads.items():
        path = ("expect", "reads", name)
        places.append((path, name, known, True))
        places += [((*path, i), owner, nodes, False) for i, owner in enumerate(owners)]
    for i, name in enumerate(expect.except_through):
        places.append((("expect", "except_through", i), name, nodes, False))
    for path, name, there, is_key in places:
        if name not in there:
            kind = "the root" if name == ROOT else "neither a task nor a group"
            yield Finding(
                resolved.span(path, key=is_key),
                f"`expect.{path[1]}` names `{name}`, which is {kind}",
                label="shared experts serve all tasks" if name == ROOT else "not declared",
                help=_meant(name, list(there)),
            )


def _meant(name: str, nodes: list[str]) -> str:
    if name == ROOT:
        return "remove it: every task may read shared experts"
    return did_you_mean(name, nodes, f"declared are {listing(nodes)}")


def _overlapping(
    resolved: Resolved, tree: Tree, path: Path, names: tuple[str, ...]
) -> Iterator[Finding]:
    first = {name: position for position, name in reversed(list(enumerate(names)))}
    for position, name in enumerate(names):
        if first[name] != position:
            yield _not_apart(
                resolved, (*path, position), f"`{name}` cannot be isolated from itself"
            )
            continue
        for outer in tree.above(name)[1:]:
            if outer in first and outer != ROOT:
                said = f"`{name}` cannot be isolated from `{outer}`, which it is in"
                yield _not_apart(resolved, (*path, position), said)


def _not_apart(resolved: Resolved, path: Path, message: str) -> Finding:
    remedy = "name groups or tasks that do not contain each other"
    return Finding(resolved.span(path), message, help=remedy)


@rule("HS312", "not-isolated")
def not_isolated(lowered: Lowered) -> Iterator[Finding]:
    """Tasks read the experts of a group or task from which the spec promises to isolate them.

    `expect: {isolated: [[watch, interaction]]}` says that no gradient of the tasks in `watch`
    reaches the experts of `interaction` or of anything inside it, and the other way round. The
    graph proves it: an expert set gets a gradient from a task if, and only if, the task's logit
    depends on it.

    The message names a shortest path. HoME, PLE and ML-MMoE mix the experts of all groups in the
    state of the root, which later layers read. If you intend that, `except_through: [shared]`
    promises that there is no other path, as the hierarchy mask guarantees.
    """
    isolated = lowered.spec.expect.isolated
    if not isolated:
        return
    readers, tree = Readers(lowered), Tree(lowered)
    for index, names in enumerate(isolated):
        tasks = {name: tree.tasks(name) for name in names}
        for position, owner in enumerate(names):
            others = [task for name in names if name != owner for task in tasks[name]]
            reads = readers.reads(others, tree.below(owner))
            if reads.tasks:
                reading = set(reads.tasks)
                by = [name for name in names if not reading.isdisjoint(tasks[name])]
                yield _finding(
                    lowered,
                    readers,
                    reads,
                    span=lowered.span(("expect", "isolated", index, position)),
                    label=f"not isolated from {listing(by, 5)}",
                    otherwise="remove the promise",
                )


@rule("HS313", "reads-more")
def reads_more(lowered: Lowered) -> Iterator[Finding]:
    """A task reads experts of nodes that `expect.reads` does not list for it.

    `expect: {reads: {hate: [interaction]}}` says whose experts the logit of `hate` may depend on,
    and so whose experts its loss may train: at most those of `interaction`, besides the shared
    experts and its own. A group in the list means only the group's own experts. If a task may also
    read its members, list them as well. A group as the key holds all its tasks to the list, and the
    experts of its members count as its own. Paths through the state of the root count as well,
    unless you write `except_through: [shared]`.
    """
    promises = lowered.spec.expect.reads
    if not promises:
        return
    readers, tree = Readers(lowered), Tree(lowered)
    for name, allowed in promises.items():
        free = {ROOT, *allowed, *tree.below(name)}
        owners = [owner for owner in readers.owners() if owner not in free]
        reads = readers.reads(tree.tasks(name), owners)
        if reads.tasks:
            more = list(dict.fromkeys(experts.place for experts in reads.sets))
            listed = f": `{name}: [{', '.join([*allowed, *more])}]`" if len(more) < MANY else ""
            yield _finding(
                lowered,
                readers,
                reads,
                span=lowered.span(("expect", "reads", name)),
                label=f"does not list {listing(more, 5)}",
                otherwise=f"list the nodes that may be read{listed}",
            )


def _finding(
    lowered: Lowered, readers: Readers, reads: Reads, *, span: Span, label: str, otherwise: str
) -> Finding:
    """A broken promise: the first task and the nearest set, with the path between them."""
    way = readers.way(reads.tasks[0], reads.sets)
    experts = way[-1]
    assert isinstance(experts, ExpertSet)
    tasks = [task for task in reads.tasks if readers.does_read(task, experts)]
    said = f"{listing(tasks, 5)} {'reads' if len(tasks) == 1 else 'read'}"
    more = and_others(len(reads.sets), "set")
    return Finding(
        span,
        f"{said} the experts of `{experts.place}` in layer `{experts.layer}`{more}, "
        f"{_through(way, tasks)}",
        label=label,
        related=labels(lowered, way),
        help=f"the path: {in_words(way)}{_remedy(lowered, readers, reads, otherwise)}",
    )


def _through(way: list[Node], tasks: list[str]) -> str:
    mix = mixer(way)
    if mix.path[0] in tasks:
        return f"through the gate of `{mix.path[0]}`"
    return f"through the state of `{mix.path[0]}`"


def _remedy(lowered: Lowered, readers: Readers, reads: Reads, otherwise: str) -> str:
    """The remedy: allow states above both sides, if the promise then holds."""
    between = _above_all(lowered, readers, reads)
    owners = {experts.place for experts in reads.sets}
    for number in range(1, len(between) + 1):
        if not readers.letting(between[:number]).reads(reads.tasks, owners).tasks:
            names = [*readers.passing_places, *between[:number]]
            return (
                f"\nto allow paths through {listing(between[:number])}, write "
                f"`except_through: [{', '.join(names)}]`"
            )
    if any(layer.gates.mixture.sees != "path" for layer in lowered.layers):
        return "\n`sees: path` restores the mask: gates see only nodes on a path with their own"
    return f"\nremove this path, or {otherwise}"


def _above_all(lowered: Lowered, readers: Readers, reads: Reads) -> list[str]:
    """The nodes with states above all readers and all owners, in order from the root."""
    tree = Tree(lowered)
    sides = {*reads.tasks, *(experts.place for experts in reads.sets)}
    above = set.intersection(*(set(tree.above(name)) for name in sides))
    states = {mix.path[0] for mix in lowered.graph.of(Mix)}.difference(readers.passing_places)
    return [n for n in reversed(tree.above(reads.tasks[0])) if n in above & states]


@rule("HS314", "over-budget")
def over_budget(lowered: Lowered) -> Iterator[Finding]:
    """The model costs more than `expect.budget` allows.

    `expect: {budget: {parameters: 10M, flops: 3M, experts: 64}}` sets limits that the model may
    reach but not exceed. The numbers are those that `homespec show` prints: `parameters` counts all
    trained numbers, including the tables of features; `dense_parameters` leaves out the tables;
    `flops` counts one sample's forward pass; `experts` counts all layers.

    The message names the largest parts. Make them smaller, or raise the limit. Reviewers see a
    raised limit in the spec, and `homespec diff` reports it as a weaker promise.
    """
    for name, limit, cost in over(lowered):
        total = sum(cost.values())
        parts = largest(lowered, cost)
        yield Finding(
            lowered.span(("expect", "budget", name)),
            f"the model has {total:,} {LIMITS[name]}, {total - limit:,} more than the budget of "
            f"{limit:,}",
            label=f"{total:,} {LIMITS[name]}",
            related=_lines_of(lowered, parts),
            help=f"the largest parts are {', '.join(map(str, parts))}; make them smaller, or raise "
            "the limit",
        )


def _lines_of(lowered: Lowered, parts: list[Part]) -> tuple[Label, ...]:
    """The lines of the parts; where all are by default, the groups or tasks that they are for."""
    spec = lowered.span(())
    lines = tuple(Label(part.span, str(part)) for part in parts if part.span != spec)
    if lines or not parts:
        return lines
    return (Label(lowered.first_span((("groups",), ("tasks",)), key=True), str(parts[0])),)
