"""HS312 to HS315: the promises under `expect`, held against the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from homespec.checks.causes import and_others, did_you_mean
from homespec.checks.promise_budget import LIMITS, largest, over
from homespec.checks.promise_ways import in_words, labels, mixer
from homespec.checks.promises import Read, Readers, Tree
from homespec.diagnostics import Finding, Label, Span, rule
from homespec.diagnostics.suggest import listing
from homespec.graph.nodes import Mix, Node
from homespec.lower import Lowered
from homespec.resolve import Resolved
from homespec.resolve.layers import Path
from homespec.schema.identifiers import ROOT


@rule("HS315", "unknown-promise")
def unknown_promise(resolved: Resolved) -> Iterator[Finding]:
    """A promise names a node that the task tree does not have, or speaks of one thing twice.

    `isolated` and `reads` take tasks and groups, `except_through` the root `shared`, too. Two of
    which one is in the other share its experts by definition, so they cannot be isolated; and
    `shared` experts are there for all tasks.
    """
    expect, tree = resolved.spec.expect, Tree(resolved)
    known = [*resolved.spec.tasks, *resolved.spec.groups]
    places: list[tuple[Path, str, list[str], bool]] = []
    for index, names in enumerate(expect.isolated):
        path: Path = ("expect", "isolated", index)
        places += [((*path, i), name, known, False) for i, name in enumerate(names)]
        yield from _overlapping(resolved, tree, path, names)
    for name, owners in expect.reads.items():
        path = ("expect", "reads", name)
        places.append((path, name, known, True))
        places += [((*path, i), owner, [*known, ROOT], False) for i, owner in enumerate(owners)]
    for i, name in enumerate(expect.except_through):
        places.append((("expect", "except_through", i), name, [*known, ROOT], False))
    for path, name, nodes, is_key in places:
        if name not in nodes:
            kind = "the root" if name == ROOT else "neither a task nor a group"
            yield Finding(
                resolved.span(path, key=is_key),
                f"`expect.{path[1]}` names `{name}`, which is {kind}",
                label="shared experts are for all tasks" if name == ROOT else "not declared",
                help=_meant(name, nodes),
            )


def _meant(name: str, nodes: list[str]) -> str:
    if name == ROOT:
        return "remove it: every task may read shared experts"
    return did_you_mean(name, nodes, f"declared are {listing(nodes)}")


def _overlapping(
    resolved: Resolved, tree: Tree, path: Path, names: tuple[str, ...]
) -> Iterator[Finding]:
    for position, name in enumerate(names):
        for other in names[:position]:
            inner, outer = (name, other) if other in tree.above(name) else (other, name)
            if outer in tree.above(inner) and outer != ROOT:
                yield Finding(
                    resolved.span((*path, position)),
                    f"`{inner}` cannot be isolated from {'itself' if inner == outer else ''}"
                    + (f"`{outer}`, which it is in" if inner != outer else ""),
                    label="again" if inner == outer else "",
                    help="name groups or tasks that are beside each other",
                )


@rule("HS312", "not-isolated")
def not_isolated(lowered: Lowered) -> Iterator[Finding]:
    """Tasks that are promised to be isolated from a group or task read its experts.

    `expect: {isolated: [[watch, interaction]]}` says that no gradient of the tasks of `watch`
    reaches experts of `interaction`, or of what is in it, and the other way round. The graph proves
    it: an expert set gets a gradient from a task if, and only if, the task's logit depends on it.

    The message names a shortest way. HoME, PLE and ML-MMoE mix the experts of all groups in the
    state of the root, which later layers read. Where that is meant, `except_through: [shared]`
    promises that there is no other way, as the hierarchy mask has it.
    """
    readers, tree = Readers(lowered), Tree(lowered)
    for index, names in enumerate(lowered.spec.expect.isolated):
        for position, owner in enumerate(names):
            others = [name for name in names if name != owner]
            tasks = [task for name in others for task in tree.tasks(name)]
            reads = list(readers.read(tasks, tree.below(owner)))
            if reads:
                by = [name for name in others if _is_of(reads, tree.tasks(name))]
                span = lowered.span(("expect", "isolated", index, position))
                yield _finding(
                    lowered,
                    readers,
                    reads,
                    span=span,
                    label=f"not isolated from {listing(by)}",
                    otherwise="remove the promise",
                )


@rule("HS313", "reads-more")
def reads_more(lowered: Lowered) -> Iterator[Finding]:
    """A task reads experts of nodes that `expect.reads` does not list for it.

    `expect: {reads: {hate: [interaction]}}` says whose experts the logit of `hate` may depend on,
    and so whose experts its loss may train: at most those of `interaction`, besides shared ones and
    its own. A group stands for its own experts only: name what is in it, too, if a task may read
    that. Of a group, all its tasks are held to the list, and experts of what is in it are its own.

    What passes through the state of the root counts, too, unless `except_through: [shared]` says
    otherwise.
    """
    readers, tree = Readers(lowered), Tree(lowered)
    for name, allowed in lowered.spec.expect.reads.items():
        free = {ROOT, *allowed, *tree.below(name)}
        owners = dict.fromkeys(o for o in readers.owners.values() if o not in free)
        reads = list(readers.read(tree.tasks(name), owners))
        if reads:
            read = dict.fromkeys(read.experts.place for read in reads)
            span = lowered.span(("expect", "reads", name))
            yield _finding(
                lowered,
                readers,
                reads,
                span=span,
                label=f"does not list {listing(list(read), 5)}",
                otherwise=f"list what may be read: `{name}: [{', '.join([*allowed, *read])}]`",
            )


def _is_of(reads: Iterable[Read], tasks: list[str]) -> bool:
    return any(task in read.tasks for read in reads for task in tasks)


def _finding(
    lowered: Lowered, readers: Readers, reads: list[Read], *, span: Span, label: str, otherwise: str
) -> Finding:
    """A promise that is broken: by the first task and the nearest set, with the way between."""
    task = reads[0].tasks[0]
    way = readers.way(task, reads)
    tasks, experts = next(read for read in reads if read.experts is way[-1])
    said = f"{listing(tasks, 5)} {'reads' if len(tasks) == 1 else 'read'}"
    more = and_others(len(reads), "set")
    return Finding(
        span,
        f"{said} the experts of `{experts.place}` in layer `{experts.layer}`{more}, "
        f"{_through(way, tasks)}",
        label=label,
        related=labels(lowered, way),
        help=f"the way: {in_words(way)}{_remedy(lowered, readers, reads, otherwise)}",
    )


def _through(way: list[Node], tasks: list[str]) -> str:
    mix = mixer(way)
    if mix.path[0] in tasks:
        return f"through the gate of `{mix.path[0]}`"
    return f"through the state of `{mix.path[0]}`"


def _remedy(lowered: Lowered, readers: Readers, reads: list[Read], otherwise: str) -> str:
    """What to do: let states that are above both sides pass, if the promise then holds."""
    tree = Tree(lowered)
    states = {mix.path[0] for mix in lowered.graph.of(Mix)} - set(readers.passing_places)
    between = [
        name
        for name in reversed(tree.above(reads[0].tasks[0]))
        if name in states and all(name in tree.above(n) for r in reads for n in _sides(r))
    ]
    for number in range(1, len(between) + 1):
        rest = Readers(lowered, between[:number])
        if not any(rest.way(task, [read]) for read in reads for task in read.tasks):
            names = [*readers.passing_places, *between[:number]]
            return (
                f"\nto allow what passes through {listing(between[:number])}, write "
                f"`except_through: [{', '.join(names)}]`"
            )
    if any(layer.gates.mixture.sees == "all" for layer in lowered.layers):
        return "\n`sees: path` restores the mask: gates see what is on a path with their node"
    return f"\nclose this way, or {otherwise}"


def _sides(read: Read) -> list[str]:
    return [*read.tasks, read.experts.place]


@rule("HS314", "over-budget")
def over_budget(lowered: Lowered) -> Iterator[Finding]:
    """The model costs more than `expect.budget` allows.

    `expect: {budget: {parameters: 10M, flops: 3M, experts: 64}}` sets limits that the model may
    reach and not exceed. They count what `homespec show` prints: parameters are all trained
    numbers, those in tables of features included; `dense_parameters` are those that are in no
    table; FLOPs are those of one sample's forward pass; experts are those of all layers.

    The message names the largest parts. Make them smaller, or raise the limit: reviewers see that
    in the spec, and `homespec diff` calls it a weaker promise.
    """
    for name, limit, cost in over(lowered):
        total = sum(cost.values())
        spec = lowered.span(())
        parts = largest(lowered, cost)
        yield Finding(
            lowered.span(("expect", "budget", name)),
            f"the model has {total:,} {LIMITS[name]}, {total - limit:,} more than the budget of "
            f"{limit:,}",
            label=f"{total:,} {LIMITS[name]}",
            related=tuple(Label(part.span, str(part)) for part in parts if part.span != spec),
            help=f"the largest parts are {', '.join(map(str, parts))}; make them smaller, or raise "
            "the limit",
        )
