"""HS208 to HS215: the layers of a spec, on a sound task tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from homespec.checks.causes import did_you_mean
from homespec.diagnostics import Finding, Label, Severity, rule
from homespec.diagnostics.suggest import listing
from homespec.resolve import Resolved
from homespec.resolve.families import FAMILIES, Topology, family_of
from homespec.resolve.layers import Path
from homespec.resolve.tree import Role
from homespec.schema.identifiers import ROOT
from homespec.schema.models import LayerExperts, Spec

PRESET = ("all", "meta", "task")
"""The scopes of `experts` and `gates` that configure a family's layers."""


@rule("HS208", "layer-list-length")
def layer_list_length(resolved: Resolved) -> Iterator[Finding]:
    """A list of meta layers does not have one entry for each layer before the last.

    `meta:` takes one mapping, which holds for all layers before the last, or a list with one entry
    for each, the first for the layer that reads the features. HoME has one such layer for each
    level of nested groups, unless `layers:` says otherwise.
    """
    spec = resolved.spec
    names = [layer.name for layer in resolved.layers[:-1]]
    for section, given in (("experts", spec.experts.meta), ("gates", spec.gates.meta)):
        if isinstance(given, tuple) and len(given) != len(names):
            yield Finding(
                resolved.span((section, "meta"), key=True),
                f"`{section}.meta` lists {_layers(len(given))}, but the model has "
                f"{_layers(len(names))} before the last",
                label=f"layers are {', '.join(names)}" if names else "there is only the last layer",
                help=f"give one mapping for all meta layers, or a list of {len(names)}"
                if names
                else "remove it, or use more `layers`",
            )


def _layers(number: int) -> str:
    return f"{number or 'no'} layer{'' if number == 1 else 's'}"


@rule("HS209", "unknown-node")
def unknown_node(resolved: Resolved) -> Iterator[Finding]:
    """A layer names a tree node that it does not have.

    Under `nodes:` a family's layer takes the groups and tasks that own experts in it; the root's
    experts are counted under `shared:`. A layer that you define yourself accepts every node of the
    tree: `shared`, the groups and the tasks.
    """
    for path, names, known, where in _nodes_given(resolved):
        for key, name in names:
            if name not in known:
                yield Finding(
                    resolved.span((*path, key), key=key == name),
                    f"{where} has no node `{name}`",
                    label="no such node in this layer",
                    help=_meant(resolved.spec, name, known, path),
                )


def _meant(spec: Spec, name: str, known: list[str], path: Path) -> str:
    if name in spec.tasks and path[:2] == ("experts", "meta") and spec.family == "home":
        return "tasks own experts only in the last layer: move it to `experts.task.nodes`"
    if not known:
        return f"in family `{spec.family}` only the root owns experts: write `shared:`"
    return did_you_mean(name, known, f"nodes of this layer are {listing(known)}")


Given = tuple[Path, list[tuple[str | int, str]], list[str], str]
"""Places that name nodes: the keys, the names, the permitted nodes, and the layer in words."""


def _nodes_given(resolved: Resolved) -> Iterator[Given]:
    nodes = [node.name for node in resolved.root.walk()]
    for index, layer in enumerate(resolved.spec.topology):
        where = f"layer `{resolved.layers[index].name}`"
        path: Path = ("layers", index)
        yield (*path, "experts"), [(name, name) for name in layer.experts], nodes, where
        yield (*path, "outputs"), list(enumerate(layer.outputs)), nodes, where
    for path, scope, topologies in _scopes(resolved):
        owners = {node.name: None for topology in topologies for node in topology.sets}
        known = [name for name in owners if name != ROOT]
        names: list[tuple[str | int, str]] = [(name, name) for name in scope.nodes]
        yield (*path, "nodes"), names, known, f"layer `{path[1]}`"


def _scopes(resolved: Resolved) -> Iterator[tuple[Path, LayerExperts, list[Topology]]]:
    """Every scope of `experts`, with the family's layers that it configures."""
    experts, family = resolved.spec.experts, family_of(resolved.spec)
    if family is None:
        return
    layers = list(family.topologies(resolved.root, len(resolved.layers)))
    yield ("experts", "all"), experts.all, layers
    if isinstance(experts.meta, tuple):
        for index, (scope, topology) in enumerate(zip(experts.meta, layers, strict=False)):
            yield ("experts", "meta", index), scope, [topology]
    else:
        yield ("experts", "meta"), experts.meta, layers[:-1]
    yield ("experts", "task"), experts.task, layers[-1:]


@rule("HS210", "layers-and-family")
def layers_and_family(resolved: Resolved) -> Iterator[Finding]:
    """A spec defines its own layers and also configures those of a family.

    A list under `layers:` is the whole topology. `family` and the sections `all`, `meta` and `task`
    of `experts` and `gates` configure the layers of a family, so they would have no effect.
    """
    if not resolved.spec.topology:
        return
    inside = [(section, scope) for section in ("experts", "gates") for scope in PRESET]
    for path in [("family",), *inside]:
        if resolved.has(path):
            yield Finding(
                resolved.span(path, key=True),
                f"`{'.'.join(path)}` has no effect, because the spec defines its own layers",
                label="configures a family's layers",
                related=(Label(resolved.span(("layers",), key=True), "given here"),),
                help="remove it, or set it in the entries of `layers:`",
            )


@rule("HS211", "fixed-layers")
def fixed_layers(resolved: Resolved) -> Iterator[Finding]:
    """A family that has one layer by definition is given another number of layers.

    Stacked CGC is `ple`, and stacked MMoE is `ml_mmoe`. MoE and Shared-Bottom are not stacked.
    """
    spec = resolved.spec
    stacked = {"cgc": "ple", "mmoe": "ml_mmoe"}.get(spec.family)
    fixed = FAMILIES[spec.family].stacks is None
    if fixed and isinstance(spec.layers, int) and spec.layers != 1:
        yield Finding(
            resolved.span(("layers",)),
            f"family `{spec.family}` has one layer",
            label=f"{spec.layers} layers",
            help=f"the stacked form is `family: {stacked}`" if stacked else "remove `layers`",
        )


@rule("HS212", "repeated-output")
def repeated_output(resolved: Resolved) -> Iterator[Finding]:
    """A layer lists a node twice among its outputs.

    The second mention changes nothing. Usually another node was meant.
    """
    for index, layer in enumerate(resolved.spec.topology):
        for position, name in enumerate(layer.outputs):
            first = layer.outputs.index(name)
            if first != position:
                path: Path = ("layers", index, "outputs")
                yield Finding(
                    resolved.span((*path, position)),
                    f"`outputs` lists `{name}` twice",
                    label="again",
                    related=(Label(resolved.span((*path, first)), "first here"),),
                    help="remove one of them, or replace it with the node that you meant",
                )


@rule("HS213", "repeated-layer")
def repeated_layer(resolved: Resolved) -> Iterator[Finding]:
    """Two layers have the same name, or names that differ only in case.

    Weights are named by their layer, so it must be clear which one is meant. Layers without a name
    are called meta, meta2, … and the last one task.
    """
    names = [layer.name.lower() for layer in resolved.layers]
    for name, times in Counter(names).items():
        if times > 1:
            first, second = [i for i, other in enumerate(names) if other == name][:2]
            yield Finding(
                resolved.span(("layers", second, "name"), key=False),
                f"two layers are called `{name}`",
                label="again",
                related=(Label(resolved.span(("layers", first, "name")), "first here"),),
                help="give one of them another `name`",
            )


@rule("HS214", "shared-bottom-experts")
def shared_bottom_experts(resolved: Resolved) -> Iterator[Finding]:
    """Shared-Bottom is given several experts.

    Its bottom is one network that all towers read. Several experts need a gate to mix them. With
    one gate for all tasks, that is `moe`; with a gate for each task, `mmoe`.
    """
    if resolved.spec.family != "shared_bottom":
        return
    for scope in ("all", "task"):
        given = getattr(resolved.spec.experts, scope).shared
        if "count" in given.model_fields_set and given.count != 1:
            yield Finding(
                resolved.span(("experts", scope, "shared")),
                f"Shared-Bottom has one expert, not {given.count}",
                label=f"{given.count} experts",
                help="use `family: moe` or `family: mmoe`, or give it one expert",
            )


@rule("HS215", "unused-section", Severity.WARNING)
def unused_section(resolved: Resolved) -> Iterator[Finding]:
    """A section configures layers or nodes that the family does not have.

    A family with one layer has no layers before it, so `meta` has no effect there. HoME's tasks own
    experts only in the last layer, and MMoE's tasks own none. Without groups there are no group
    experts.
    """
    if len(resolved.layers) == 1 and resolved.has(("gates", "meta")):
        yield _unused(resolved, ("gates", "meta"), "no layer comes before the last")
    for path, scope, topologies in _scopes(resolved):
        if not topologies and resolved.has(path):
            yield _unused(resolved, path, "no layer comes before the last")
            continue
        roles = {node.role for topology in topologies for node in topology.sets}
        for role in Role:
            if role not in roles and role.value in scope.model_fields_set:
                kind = {"shared": "the root owns", "group": "groups own", "task": "tasks own"}[role]
                yield _unused(resolved, (*path, role.value), f"{kind} no experts in these layers")


def _unused(resolved: Resolved, path: Path, reason: str) -> Finding:
    return Finding(
        resolved.span(path, key=True),
        f"`{'.'.join(map(str, path))}` has no effect: {reason}",
        label="unused",
        help="remove it, or choose a `family` with such experts",
    )
