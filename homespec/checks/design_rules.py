"""HS4xx: design lint: specs that compile, but tend to collapse, degrade, underfit or leak.

Thresholds are homespec's own unless the text names a source.
"""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import and_others, by_cause, describe_layers, listed
from homespec.diagnostics import Finding, Label, Severity, Span, rule
from homespec.graph.nodes import FeatureGate
from homespec.graph.sequences import Dien, Sequence
from homespec.lower import Lowered
from homespec.resolve import Resolved
from homespec.resolve.families import FAMILIES, family_of
from homespec.resolve.layers import Layer
from homespec.resolve.places import placed
from homespec.resolve.tree import Role, TreeNode
from homespec.schema.identifiers import ROOT
from homespec.schema.label_parser import parse_label

SPARSE_RATE = 0.01
"""Below this share of positives a task counts as sparse. homespec's own choice."""

RATE_SPREAD = 100.0
"""Base rates in one group that differ by more than this factor are far apart."""

TASKS_OWN_EXPERTS = (None, *(FAMILIES[name] for name in ("home", "ple", "cgc", "stem")))
"""Families in which tasks have experts, and None, layers by hand; in MMoE tasks have none."""

MAX_STEPS = 32
"""homespec's own threshold: each step waits for the previous one, forward and backward."""


@rule("HS404", "no-shared-experts", Severity.WARNING)
def no_shared_experts(resolved: Resolved) -> Iterator[Finding]:
    """A layer without shared experts.

    The shared experts are the only path on which groups learn from each other: the hierarchy mask
    hides one group's experts from the other groups' tasks.
    """
    without = [layer for layer in resolved.layers if ROOT not in layer.sets]
    for span, here in by_cause(without, lambda at: _node_span(resolved, at, resolved.root)).items():
        one = len(here) == 1
        yield Finding(
            span,
            f"{describe_layers([layer.name for layer in here])} {'has' if one else 'have'} no "
            f"shared experts: {'its' if one else 'their'} groups share nothing",
            label="no shared experts",
            help="give the root at least one expert: `shared: 2`",
        )


@rule("HS405", "single-group", Severity.WARNING)
def single_group(resolved: Resolved) -> Iterator[Finding]:
    """All tasks are below one group.

    The hierarchy mask prevents expert degradation by keeping groups apart (HOME.md section 3). A
    single group has nothing to be kept apart from: its experts serve the same tasks as the shared
    ones.
    """
    for node in resolved.root.walk():
        if node.role is not Role.TASK and len(node.children) == 1:
            (only,) = node.children
            if only.role is Role.GROUP:
                yield Finding(
                    resolved.span(("groups", only.name), key=True),
                    f"`{only.name}` is the only group"
                    + (f" in `{node.name}`" if node.role is Role.GROUP else ""),
                    label="serves the same tasks as the experts above it",
                    help="split the tasks into groups that behave alike, such as passive watching "
                    "and active interaction",
                )


@rule("HS406", "one-task-group", Severity.WARNING)
def one_task_group(resolved: Resolved) -> Iterator[Finding]:
    """A group of one task.

    Group experts exist so that similar tasks can share them. In a group of one task, they are
    merely more experts of that task with another gate. If that is what you want, for a task that
    resembles no other, ignore the rule with a reason.
    """
    for group in resolved.root.of(Role.GROUP):
        if len(group.children) == 1 and group.children[0].role is Role.TASK:
            yield Finding(
                resolved.span(("groups", group.name)),
                f"group `{group.name}` has one task, `{group.children[0].name}`",
                label="nothing to share with",
                help="move the task to the group that it resembles most, or ignore this rule",
            )


@rule("HS407", "sparse-without-own", Severity.WARNING)
def sparse_without_own(resolved: Resolved) -> Iterator[Finding]:
    """A sparse task without experts of its own.

    HoME's third anomaly is underfitting of sparse tasks: dense tasks write the shared and group
    experts, and a task with few positives (below 1 %, homespec's own threshold) finds nothing there
    that fits. An expert of its own keeps a place that only this task's gradient reaches.
    """
    if family_of(resolved.spec) not in TASKS_OWN_EXPERTS:
        return
    last = resolved.layers[-1]
    rates = {n: t.rate for n, t in resolved.spec.tasks.items() if t.rate is not None}
    without = [n for n, rate in rates.items() if rate < SPARSE_RATE and n not in last.sets]
    for span, here in by_cause(without, lambda name: _none_of(resolved, last, name)).items():
        first = here[0]
        yield Finding(
            span,
            f"the sparse tasks {listed(here)} have no experts of their own"
            if len(here) > 1
            else f"task `{first}` is sparse (rate {rates[first]:g}) and has no experts of its own",
            label="underfits easily" if len(here) == 1 else "underfit easily",
            related=tuple(
                Label(resolved.span(("tasks", name), key=True), f"rate {rates[name]:g}")
                for name in here[:4]
            ),
            help=_own_experts(here, by_hand=bool(resolved.spec.topology)),
        )


def _own_experts(tasks: list[str], by_hand: bool) -> str:
    entries = ", ".join(f"{name}: 1" for name in tasks)
    if by_hand:
        return f"add `{entries}` to the `experts` of the last layer"
    return f"add `experts.task.nodes: {{{entries}}}`"


def _none_of(resolved: Resolved, last: Layer, task: str) -> Span:
    """The line by which a task has no experts in the last layer."""
    paths = [
        path
        for scope in last.sections[:2]
        for path in ((*scope, "nodes", task), (*scope, Role.TASK.value), (*scope, "experts"))
    ]
    return resolved.first_span((*paths, *last.sections), key=True)


@rule("HS408", "no-underfitting-gates", Severity.WARNING)
def no_underfitting_gates(resolved: Resolved) -> Iterator[Finding]:
    """A layer with neither feature gates nor self gates.

    Both are HoME's remedies against underfitting: the feature gate gives each expert set its own
    view of the input, the self gate gives each set a direct gradient (HOME.md sections 4 and 5).
    """
    if family_of(resolved.spec) is not FAMILIES["home"]:
        return
    without = [
        layer
        for layer in resolved.layers
        if not (layer.gates.feature.enabled or layer.gates.self.enabled)
    ]
    causes = by_cause(without, lambda layer: resolved.first_span(layer.gate_sections, key=True))
    for span, here in causes.items():
        yield Finding(
            span,
            f"{describe_layers([layer.name for layer in here])} "
            f"{'has' if len(here) == 1 else 'have'} neither feature gates nor self gates",
            label="both are off",
            help="leave at least one of `feature` and `self` on",
        )


@rule("HS409", "rank-not-low", Severity.WARNING)
def rank_not_low(lowered: Lowered) -> Iterator[Finding]:
    """The rank of a LoRA is too high to save anything.

    A LoRA of rank r on a width n costs 2 n r weights, a full matrix n². From r = n/2 on the
    low-rank form saves nothing.
    """
    gates = lowered.graph.of(FeatureGate)
    high = [gate for gate in gates if gate.activation == "none" and _is_high(gate)]
    for alike in by_cause(high, lambda gate: gate.span).values():
        gate, several = min(alike, key=lambda gate: gate.width), len(alike) > 1
        yield Finding(
            gate.span,
            f"the feature gate of `{gate.place}` in layer `{gate.layer}`"
            f"{and_others(len(alike), 'feature gate')} {'have' if several else 'has'} rank "
            f"{gate.rank} on {'inputs' if several else 'an input'} of width {gate.width}"
            + (" and more" if any(other.width > gate.width for other in alike) else ""),
            label="more weights than a full matrix",
            help=f"use a rank of at most {max(1, gate.width // 4)}",
        )


def _is_high(gate: FeatureGate) -> bool:
    """Whether a LoRA has more weights than a matrix from what it reads to what it scales."""
    return gate.rank * (gate.read_width + gate.width) > gate.read_width * gate.width


@rule("HS410", "label-leak", Severity.WARNING)
def label_leak(resolved: Resolved) -> Iterator[Finding]:
    """A label is also an input.

    A model that reads a label predicts it perfectly offline and is worthless online, where the
    label is not yet known. Only the first column of a label counts as the label, not a second one
    such as `duration_ms` in `play_time_ms >= duration_ms`.
    """
    labels = {
        column: name
        for name, task in reversed(resolved.spec.tasks.items())
        for column in parse_label(task.label).columns[:1]
    }
    for name, feature in resolved.spec.features.items():
        if feature.column in labels:
            task = labels[feature.column]
            yield Finding(
                resolved.span(("features", name), key=True),
                f"feature `{name}` reads `{feature.column}`, the label of task `{task}`",
                label="an input",
                related=(Label(resolved.span(("tasks", task), key=True), "its label"),),
                help="remove the feature",
            )


@rule("HS411", "repeated-label", Severity.WARNING)
def repeated_label(resolved: Resolved) -> Iterator[Finding]:
    """Two tasks are trained on the same label.

    They would learn the same thing with twice the weight. Usually one was copied from the other
    without changing its label. A task of weight 0 is not trained on its label, so that ESMM's
    `cvr`, which `ctcvr` alone trains, may have the label of `ctcvr`.
    """
    first: dict[tuple[str, str, object], str] = {}
    trained = {name: task for name, task in resolved.spec.tasks.items() if task.weight > 0}
    for name, task in trained.items():
        other = first.setdefault((str(parse_label(task.label)), task.where, task.unknown), name)
        if other != name:
            yield Finding(
                resolved.span(("tasks", name), key=True),
                f"tasks `{other}` and `{name}` have the same label, `{task.label}`",
                label="again",
                related=(Label(resolved.span(("tasks", other), key=True), "first here"),),
                help="give one of them its own label, or raise `weight` if you want to emphasise "
                "it",
            )


@rule("HS412", "rates-far-apart", Severity.WARNING)
def rates_far_apart(resolved: Resolved) -> Iterator[Finding]:
    """A group whose tasks have base rates more than a hundredfold apart.

    The dense task's gradient then dominates the group's experts, and the sparse task gets the rest,
    so experts degrade and the sparse task underfits within the group. HoME groups tasks by
    behaviour, which also keeps their rates near each other. The factor 100 is homespec's own.
    """
    for group in resolved.root.of(Role.GROUP):
        rates = {
            n.name: resolved.spec.tasks[n.name].rate
            for n in group.children
            if n.role is Role.TASK and resolved.spec.tasks[n.name].rate is not None
        }
        if len(rates) < 2:
            continue
        low, high = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
        if rates[high] > RATE_SPREAD * rates[low]:
            yield Finding(
                resolved.span(("groups", group.name), key=True),
                f"group `{group.name}` mixes `{high}` (rate {rates[high]:g}) with `{low}` "
                f"(rate {rates[low]:g})",
                label="more than a hundredfold apart",
                help="give the sparse tasks a group of their own",
            )


@rule("HS413", "self-gate-without-set", Severity.WARNING)
def self_gate_without_set(resolved: Resolved) -> Iterator[Finding]:
    """Self gates are on, but a node that outputs a state owns no experts.

    A self gate is a residual over the node's own set (HOME.md section 5). Without a set there is no
    self gate, and the node has only the experts that it shares with others.
    """
    without = [
        (layer, node)
        for layer in resolved.layers
        for node in layer.outputs
        if layer.gates.self.enabled and node.name not in layer.sets
    ]
    for span, here in by_cause(without, lambda pair: _node_span(resolved, *pair)).items():
        layer, node = here[0]
        others = and_others(len(here), "node")
        yield Finding(
            span,
            f"`{node.name}`{others} {'have' if others else 'has'} no experts in layer "
            f"`{layer.name}`, so no self gate",
            label="no experts",
            help="give it an expert, or switch self gates off in this layer",
        )


def _node_span(resolved: Resolved, layer: Layer, node: TreeNode) -> Span:
    """The place in the spec that configures a node's role in a layer."""
    roles = [(*path, node.role.value) for path in layer.sections[:2]]
    return resolved.first_span((*roles, *layer.sections), key=True)


@rule("HS414", "wide-table", Severity.NOTE)
def wide_table(resolved: Resolved) -> Iterator[Finding]:
    """An embedding as wide as its table is long.

    A table of n rows has at most n independent directions: a wider embedding adds parameters and
    GEMM time, and no information. This is a note because many models are published with one width
    for all features, which also keeps the number of look-ups low.
    """
    spec = resolved.spec
    wide = [n for n, f in spec.features.items() if f.rows and f.dim > max(f.rows, 4)]
    for dim, names in by_cause(wide, lambda name: spec.features[name].dim).items():
        rows = {name: spec.features[name].rows for name in names}
        places = [resolved.span(("features", name), key=True) for name in names]
        several = len(names) > 1
        fewest, most = min(rows.values()), max(rows.values())
        yield Finding(
            places[0],
            f"feature{'s' if several else ''} {listed(names)} {'have' if several else 'has'} "
            + (f"{fewest} to {most}" if fewest < most else f"{most}")
            + f" rows and embeddings of width {dim}",
            label="wider than the table has rows",
            related=tuple(
                Label(place, f"{rows[name]} rows")
                for place, name in zip(places[1:4], names[1:4], strict=True)
            ),
            help=f"`dim: {max(2, rows[names[0]] // 2)}` is enough for `{names[0]}`",
        )


@rule("HS418", "stem-without-tables", Severity.WARNING)
def stem_without_tables(resolved: Resolved) -> Iterator[Finding]:
    """Family `stem` without a table at any task.

    STEM gives each task tables of its own beside the shared ones: `at: [shared, tasks]` on its `id`
    and `bucketize` features. Without them it is PLE whose gates see all experts. The same user then
    has one embedding for all tasks, which is what STEM's paper found to hurt.
    """
    spec, root = resolved.spec, resolved.root
    at = (node for feature in spec.features.values() for node in placed(feature, root))
    if family_of(spec) is FAMILIES["stem"] and not any(n.role is Role.TASK for n in at):
        yield Finding(
            resolved.span(("family",)),
            "family `stem` has no table at any task",
            label="all tables are shared",
            help="write `at: [shared, tasks]` in features with a table, first in those of users "
            "and items",
        )


@rule("HS420", "long-recurrence", Severity.NOTE)
def long_recurrence(lowered: Lowered) -> Iterator[Finding]:
    """DIEN over many events.

    Its two GRUs process the events one by one: each step waits for the previous one, both forward
    and backward. The time of a training step grows with `max_len`, and so does the compile time for
    inference. This is a note because DIEN was published with longer histories. DIN weighs all
    events at once, and SIM and TWIN are made for long histories.
    """
    for node in lowered.graph.of(Sequence):
        if isinstance(node.encoder, Dien) and node.max_len > MAX_STEPS:
            yield Finding(
                lowered.span(("features", node.short, "sequence", "max_len")),
                f"`{node.short}` runs DIEN's GRUs over {node.max_len} events, one after the other",
                label=f"more than {MAX_STEPS} steps",
                help="shorten it, or use `sim` or `twin` for long histories",
            )
