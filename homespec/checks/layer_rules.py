"""HS301 and HS307 to HS309: conditions for lowering layers to a graph."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from homespec.diagnostics import Finding, Label, Span, rule
from homespec.resolve import Resolved
from homespec.resolve.layers import Layer, states_each
from homespec.resolve.tree import Role, TreeNode

MAX_SETS = 20_000
"""Maximum total number of expert sets, gates and states of a model. Products have hundreds."""

MAX_READS = 200_000
"""Maximum number of times that gates read sets."""


@rule("HS309", "too-big")
def too_big(resolved: Resolved) -> Iterator[Finding]:
    """The model has far more expert sets and gates than any product needs.

    This is a typo, or an attempt to keep the compiler busy. Such a model would take minutes to
    compile and would not fit into memory. The limits are 20,000 sets and gates, and 200,000 places
    where a gate reads a set.
    """
    layers = resolved.layers
    parts = reads = 0
    for layer, several in zip(layers, states_each(layers), strict=True):
        gates = sum(several.get(node.name, 1) for node in layer.outputs)
        parts += len(layer.sets) + 2 * gates
        if layer.gates.mixture.sees != "path":
            reads += gates * len(layer.sets)
        elif parts <= MAX_SETS:
            seen = ((several.get(n.name, 1), len(layer.visible(n))) for n in layer.outputs)
            reads += sum(states * sets for states, sets in seen)
    if parts > MAX_SETS or reads > MAX_READS:
        yield Finding(
            resolved.first_span(layers[0].sections, key=True),
            f"the model would have {parts:,} sets and gates that read {reads:,} sets",
            label=f"at most {MAX_SETS:,} and {MAX_READS:,} are allowed",
            help="use fewer tasks, layers or experts",
        )


@rule("HS301", "gate-over-nothing")
def gate_over_nothing(resolved: Resolved) -> Iterator[Finding]:
    """A gate has no expert to mix: no set that it may read has any.

    The hierarchy lets a gate read the sets of its own node, of its ancestors and of what is below
    it. If all of these have the count 0, the layer has no state for the node, and the tasks below
    it would silently skip the layer.
    """
    for layer in resolved.layers:
        for node in layer.outputs:
            if not layer.visible(node):
                names = [n.name for n in reversed(node.path)]
                yield Finding(
                    resolved.first_span(layer.sections, key=True),
                    f"the gate of `{node.name}` in layer `{layer.name}` has no expert to mix",
                    label=f"no experts at {' or '.join(f'`{n}`' for n in names)}",
                    help="give one of these nodes at least one expert",
                )


@rule("HS307", "no-state")
def no_state(resolved: Resolved) -> Iterator[Finding]:
    """An expert set, a gate or a tower has no state to read.

    Each of them reads the previous layer's output for its node, or for the nearest group above it,
    and finally for the root (HOME.md section 7). If the previous layer has no output on that path,
    there is nothing to read.
    """
    layers = resolved.layers
    for before, layer in pairwise(layers):
        outputs = {node.name for node in before.outputs}
        for plan in layer.sets.values():
            if not _reads(plan.node, outputs):
                span = resolved.first_span(plan.sections, key=True)
                what = f"the experts of `{plan.node.name}` in layer `{layer.name}`"
                yield _no_state(resolved, span, what, plan.node, before)
        for node in layer.outputs:
            stateless = layer.gates.mixture.input in ("v", "none")
            if node.name not in layer.sets and not stateless and not _reads(node, outputs):
                span = _outputs_label(layer, resolved).span
                what = f"the gate of `{node.name}` in layer `{layer.name}`"
                yield _no_state(resolved, span, what, node, before)
    outputs = {node.name for node in layers[-1].outputs}
    for task in resolved.root.of(Role.TASK):
        if not _reads(task, outputs):
            span = resolved.span(("tasks", task.name), key=True)
            yield _no_state(resolved, span, f"the tower of `{task.name}`", task, layers[-1])


def _no_state(resolved: Resolved, span: Span, what: str, node: TreeNode, before: Layer) -> Finding:
    way = " or ".join(f"`{n.name}`" for n in node.path)
    return Finding(
        span,
        f"{what} {'have' if 'experts' in what else 'has'} no state to read: "
        f"layer `{before.name}` has no output for {way}",
        label="reads nothing",
        related=(_outputs_label(before, resolved),),
        help=f"add {way} to the `outputs` of `{before.name}`",
    )


@rule("HS308", "many-states")
def many_states(resolved: Resolved) -> Iterator[Finding]:
    """An expert set reads a node that has too many or too few states for it.

    With `inputs: each` a node has one state for each of its experts in the next layer (ML-MMoE).
    Only those experts can read them, because another set would not know which one to take. The
    previous layer must also output states for this node. The first layer can read only the
    features.
    """
    before: dict[str, int] = {}
    outputs = {resolved.root.name}
    several = states_each(resolved.layers)
    for index, (layer, after) in enumerate(zip(resolved.layers, several, strict=True)):
        for plan in layer.sets.values():
            node = plan.node
            each = plan.experts.inputs == "each"
            source = _reads(node, outputs)
            if each and (index == 0 or source != node.name):
                yield Finding(
                    resolved.first_span(plan.sections),
                    f"the experts of `{node.name}` in layer `{layer.name}` read one state each, "
                    "but " + ("the first layer reads the features" if index == 0 else "have none"),
                    label="inputs: each",
                    help="leave out `inputs: each`"
                    if index == 0
                    else f"add `{node.name}` to the `outputs` of the layer before",
                )
            elif not each and source in before:
                yield Finding(
                    resolved.first_span(plan.sections),
                    f"the experts of `{node.name}` in layer `{layer.name}` read the state of "
                    f"`{source}`, which has {before[source]}: one for each of its experts",
                    label="which of them?",
                    help=f"output a state for `{node.name}` in the layer before, or remove "
                    f"`inputs: each` at `{source}`",
                )
        outputs = {node.name for node in layer.outputs}
        before = {name: count for name, count in after.items() if name in outputs}


def _reads(node: TreeNode, outputs: set[str]) -> str:
    """The node whose state a set at `node` reads; empty if there is none."""
    return next((n.name for n in node.path if n.name in outputs), "")


def _outputs_label(layer: Layer, resolved: Resolved) -> Label:
    names = ", ".join(node.name for node in layer.outputs)
    place = (*layer.sections[0], "outputs")
    sections = (place, *layer.sections)
    return Label(resolved.first_span(sections, key=not resolved.has(place)), f"outputs {names}")
