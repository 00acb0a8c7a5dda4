"""HS201 to HS207: names, references and the task tree."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING

from homespec.checks.causes import cycle, did_you_mean
from homespec.diagnostics import Finding, Label, rule
from homespec.diagnostics.suggest import closest, listing
from homespec.resolve import Resolved
from homespec.resolve.tree import MAX_NESTING
from homespec.schema.models import Spec

if TYPE_CHECKING:
    import networkx as nx

MAX_TYPOS = 20
"""Maximum number of typos that are compared with all names; with more, guesses do not help."""


def _places(spec: Spec) -> Iterator[tuple[str, int, str]]:
    """Every (group, index, member), in the order of the file."""
    for name, group in spec.groups.items():
        for index, member in enumerate(group.members):
            yield name, index, member


def _meant(spec: Spec, group: str, member: str) -> str | None:
    """The task or group that a misspelt member of `group` probably means."""
    return closest(member, [name for name in (*spec.tasks, *spec.groups) if name != group])


@rule("HS201", "unknown-member")
def unknown_member(resolved: Resolved) -> Iterator[Finding]:
    """A group lists a member that is neither a task nor a group.

    The hierarchy is made of names, so a typo here would take a task out of its group. Every member
    must be declared under `tasks` or be another key of `groups`.

    ```yaml
    groups: {watch: [click, finihs]}   # instead of finish
    tasks: {click: {}, finish: {}}
    ```
    """
    spec = resolved.spec
    known = {**spec.tasks, **spec.groups}
    for group, index, member in _places(spec):
        if member not in known:
            others = [name for name in known if name != group]
            declared = f"declare it under `tasks:`; declared are {listing(list(known))}"
            yield Finding(
                resolved.span(("groups", group, "members", index)),
                f"group `{group}` lists `{member}`, which is neither a task nor a group",
                label="not declared",
                help=did_you_mean(member, others, declared),
            )


@rule("HS202", "in-two-groups")
def in_two_groups(resolved: Resolved) -> Iterator[Finding]:
    """A task or group is a member of two groups.

    The hierarchy mask is derived from the tree: the experts of a group serve the tasks below it and
    no others. A member of two groups would have two such paths. Keep it in the group whose
    behaviour the task resembles. The task learns what it has in common with other groups through
    the shared experts.
    """
    first: dict[str, tuple[str, int]] = {}
    for group, index, member in _places(resolved.spec):
        owner, place = first.setdefault(member, (group, index))
        if owner != group and member not in (owner, group):  # a group in itself is a cycle
            yield Finding(
                resolved.span(("groups", group, "members", index)),
                f"`{member}` is a member of two groups, `{owner}` and `{group}`",
                label=f"here in `{group}`",
                related=(
                    Label(
                        resolved.span(("groups", owner, "members", place)), f"first in `{owner}`"
                    ),
                ),
                help=f"keep it in one of them; through the shared experts, a task of `{group}` "
                "also learns from other groups",
            )


@rule("HS203", "task-without-group")
def task_without_group(resolved: Resolved) -> Iterator[Finding]:
    """A task is declared but no group lists it.

    HoME places every task in a group: the group's experts are the middle step between the shared
    experts and the task's own. A forgotten task would silently get less capacity. A task that
    resembles no other task may have a group of its own. Other families work without groups, but if
    a spec has any, every task belongs to one.
    """
    spec = resolved.spec
    members = {member for _, _, member in _places(spec)}
    if spec.topology or (not spec.groups and spec.family != "home"):
        return  # a free topology may have tasks directly below the root
    known = {**spec.tasks, **spec.groups}
    if not spec.groups:
        yield Finding(
            resolved.span(("tasks",), key=True),
            "HoME needs task groups, and the spec has no `groups`",
            label="in no group",
            help="add `groups:`, each with tasks that behave alike; families without groups "
            "are ple, cgc, stem, mmoe, ml_mmoe, moe and shared_bottom",
        )
        return
    typos = [(group, member) for group, _, member in _places(spec) if member not in known]
    meant = {
        _meant(spec, group, member) for group, member in typos[:MAX_TYPOS]
    }  # one mistake, not two
    for task in spec.tasks:
        if spec.tasks[task].product:
            continue
        if task not in members and task not in meant:
            yield Finding(
                resolved.span(("tasks", task), key=True),
                f"task `{task}` is in no group",
                label="declared here",
                related=(Label(resolved.span(("groups",), key=True), "no group lists it"),),
                help=f"add `{task}` to one of {listing(list(spec.groups))}",
            )


@rule("HS204", "group-cycle")
def group_cycle(resolved: Resolved) -> Iterator[Finding]:
    """Groups contain each other in a cycle.

    A group may list other groups as members, to any depth, but the result must be a tree: a group
    cannot be its own ancestor. The message prints the path, starting at its first group in the
    file.
    """
    spec = resolved.spec
    try:
        _outermost_first(spec)
        return
    except CycleError:
        import networkx as nx  # slow to import, and only needed to show the way round

    order = {group: i for i, group in enumerate(spec.groups)}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edges_from((g, m) for g, _, m in _places(spec) if m in spec.groups)
    for component in nx.strongly_connected_components(graph):
        loop = graph.subgraph(component)
        if loop.number_of_edges() == 0:
            continue
        start = min(component, key=order.__getitem__)
        path = [start, *_way_back(loop, start)]
        where = [spec.groups[a].members.index(b) for a, b in pairwise(path)]
        spans = [
            resolved.span(("groups", a, "members", i))
            for a, i in zip(path[:-1], where, strict=True)
        ]
        remedy = f"remove `{path[-1]}` from `{path[-2]}`: groups must form a tree"
        yield cycle("groups", path, spans, "contains", remedy)


def _outermost_first(spec: Spec) -> list[str]:
    """The groups, each after those that contain it. Raises CycleError."""
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(spec.groups, ()))
    for group, _, member in _places(spec):
        if member in spec.groups:
            order.add(member, group)
    return list(order.static_order())


def _way_back(loop: nx.DiGraph[str], start: str) -> list[str]:
    """The rest of a shortest cycle through `start`."""
    import networkx as nx

    ways = (nx.shortest_path(loop, after, start) for after in loop.successors(start))
    shortest: list[str] = min(ways, key=len)
    return shortest


@rule("HS205", "name-clash")
def name_clash(resolved: Resolved) -> Iterator[Finding]:
    """A task and a group have the same name, or two names differ only in case.

    Members of groups, exceptions under `nodes:` and the names of weights all refer to tree nodes by
    name, so each name must mean one node. Case does not count, because constants in generated code
    are in capitals.
    """
    places = [("groups", name) for name in resolved.spec.groups] + [
        ("tasks", name) for name in resolved.spec.tasks
    ]
    first: dict[str, tuple[str, str]] = {}
    for section, name in places:
        other = first.setdefault(name.lower(), (section, name))
        if other == (section, name):
            continue
        same = other[1] == name
        yield Finding(
            resolved.span((section, name), key=True),
            f"`{name}` is both a task and a group"
            if same
            else f"`{other[1]}` and `{name}` differ only in case",
            label=f"the {section[:-1]}",
            related=(Label(resolved.span(other, key=True), f"the {other[0][:-1]}"),),
            help=f"rename one of them, for example the group to `{name}_group`"
            if same
            else "rename one of them",
        )


@rule("HS206", "repeated-member")
def repeated_member(resolved: Resolved) -> Iterator[Finding]:
    """A group lists the same member twice.

    The second mention changes nothing; it is usually a typo for another task, which is now missing.
    """
    first: dict[tuple[str, str], int] = {}
    for group, index, member in _places(resolved.spec):
        place = first.setdefault((group, member), index)
        if place != index:
            yield Finding(
                resolved.span(("groups", group, "members", index)),
                f"group `{group}` lists `{member}` twice",
                label="again",
                related=(Label(resolved.span(("groups", group, "members", place)), "first here"),),
                help="remove one of them, or replace it with the task that you meant",
            )


@rule("HS207", "nested-too-deep")
def nested_too_deep(resolved: Resolved) -> Iterator[Finding]:
    """Groups nest deeper than eight levels.

    Every level of nesting adds a layer of experts to the model (HOME.md section 7), so a deep tree
    makes a very deep network. Real products have two or three levels.
    """
    parent = {member: group for group, _, member in _places(resolved.spec)}
    depth: dict[str, int] = {}
    for group in _outermost_first(resolved.spec):
        depth[group] = 1 + depth.get(parent.get(group, ""), 0)
        if depth[group] == MAX_NESTING + 1:
            yield Finding(
                resolved.span(("groups", group), key=True),
                f"group `{group}` is nested {depth[group]} levels deep",
                label=f"at most {MAX_NESTING} are allowed",
                help="flatten the groups: each level adds a whole layer of experts",
            )
