"""HS4xx: design lint, what compiles but invites collapse, degradation, underfitting or leaks.

Thresholds here are homespec's own unless the text names a source.
"""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.sequences import long_recurrence
from homespec.diagnostics import Diagnostic, Finding, Label, Severity, Span, rule
from homespec.graph import Graph
from homespec.lower.layers import Layer, Path, key_span, span_of
from homespec.lower.tree import Role, TreeNode
from homespec.nodes import ExpertSet, FeatureGate, Gate, Mix
from homespec.schema.labels import parse_label
from homespec.schema.models import Spec
from homespec.schema.names import ROOT
from homespec.source import Document

SPARSE_RATE = 0.01
"""Below this share of positives a task counts as sparse. homespec's own choice."""

RATE_SPREAD = 100.0
"""Base rates in one group that differ by more than this factor are far apart. Our own choice."""


def check_design(
    spec: Spec, root: TreeNode, layers: list[Layer], graph: Graph, document: Document
) -> list[Diagnostic]:
    """All HS4xx diagnostics of a spec whose graph is sound."""
    is_home = spec.family == "home" and not spec.topology
    return [
        *relu_without_norm(spec, layers, graph, document),
        *unnormalised_experts(layers, graph, document),
        *(experts_not_home(layers, graph, document) if is_home else ()),
        *no_shared_experts(layers, document),
        *single_group(root, document),
        *one_task_group(root, document),
        *(sparse_without_own(spec, layers, document) if _tasks_own(spec) else ()),
        *(no_underfitting_gates(layers, document) if is_home else ()),
        *rank_not_low(graph),
        *label_leak(spec, document),
        *repeated_label(spec, document),
        *rates_far_apart(spec, root, document),
        *self_gate_without_set(layers, document),
        *wide_table(spec, document),
        *long_recurrence(graph, document),
    ]


def _tasks_own(spec: Spec) -> bool:
    """Whether tasks have experts of their own: in MMoE they have none by definition."""
    return bool(spec.topology) or spec.family in ("home", "ple", "cgc")


@rule("HS401", "relu-without-norm", Severity.WARNING)
def relu_without_norm(
    spec: Spec, layers: list[Layer], graph: Graph, document: Document
) -> Iterator[Finding]:
    """ReLU experts without normalisation invite expert collapse.

    HoME's first anomaly: experts whose outputs have different scales, and ReLU experts with more
    than 90 % zeros (the paper's figure), so that gates cannot compare them and one expert takes
    all. HoME's remedy is batch norm and Swish on every expert's output (HOME.md section 2). The
    older families were published with such experts; where they shall stay so, ignore the rule.
    """
    for experts in _compared(graph):
        if experts.norm != "none" or experts.activation != "relu":
            continue
        span = _style_span(experts, layers, document)
        yield Finding(
            span or document.span(("family",)),
            (
                f"experts of `{experts.place}` in layer `{experts.layer}` end"
                if span
                else f"the experts of family `{spec.family}`, as published, end"
            )
            + " in ReLU without a norm: they tend to collapse to zeros",
            label="norm none, activation relu",
            help="use `norm: batch` and `activation: swish`"
            + ("" if span else " under `experts`, or ignore this rule"),
        )


def _style_span(experts: ExpertSet, layers: list[Layer], document: Document) -> Span | None:
    """What says that a set has its norm, or else its activation; None if no line does."""
    layer = next(layer for layer in layers if layer.name == experts.layer)
    sections = layer.sets[experts.place].sections
    norm = key_span(document, sections, ("norm",))
    return norm or key_span(document, sections, ("activation",))


def _compared(graph: Graph) -> list[ExpertSet]:
    """The sets between whose experts some gate chooses."""
    gates = {gate.name for gate in graph.of(Gate) if gate.choices > 1}
    mixed = {port.node for mix in graph.of(Mix) if mix.gate.node in gates for port in mix.sets}
    return [experts for experts in graph.of(ExpertSet) if experts.name in mixed]


@rule("HS402", "unnormalised-experts", Severity.WARNING)
def unnormalised_experts(
    layers: list[Layer], graph: Graph, document: Document
) -> Iterator[Finding]:
    """Experts without normalisation cannot be compared by a gate.

    Without a norm the scale of an expert's output follows the scale of its weights, and the gate's
    choice follows the scale: expert collapse. DICE does not cure it: it scales with its input
    (HOME.md section 2).
    """
    for experts in _compared(graph):
        if experts.norm == "none" and experts.activation != "relu":
            yield Finding(
                _style_span(experts, layers, document) or experts.span,
                f"experts of `{experts.place}` in layer `{experts.layer}` have no norm: the gates "
                "compare outputs of different scales",
                label="norm none",
                help="use `norm: batch`",
            )


@rule("HS403", "experts-not-home", Severity.WARNING)
def experts_not_home(layers: list[Layer], graph: Graph, document: Document) -> Iterator[Finding]:
    """Normalised experts that are not HoME's.

    HoME's expert is Swish(BatchNorm(MLP)) (HOME.md section 2): every expert then starts with output
    mean 0.207 and deviation 0.560. Layer norm normalises each sample instead of each channel, and
    another activation gives another scale. Public code that calls such experts HoME's is one of the
    mistakes in HOME.md section 11; as an experiment it is fine: ignore the rule with a reason.
    """
    for experts in graph.of(ExpertSet):
        style = (experts.norm, experts.activation)
        if experts.norm != "none" and style != ("batch", "swish"):
            yield Finding(
                _style_span(experts, layers, document) or experts.span,
                f"experts of `{experts.place}` in layer `{experts.layer}` have norm {style[0]} and "
                f"activation {style[1]}; HoME's have norm batch and activation swish",
                label="not HoME's expert",
                help="use `norm: batch` and `activation: swish`, or ignore this rule with a reason",
            )


@rule("HS404", "no-shared-experts", Severity.WARNING)
def no_shared_experts(layers: list[Layer], document: Document) -> Iterator[Finding]:
    """A layer without shared experts.

    The shared experts are the only path on which groups learn from each other: the hierarchy mask
    hides one group's experts from the other groups' tasks.
    """
    for layer in layers:
        if ROOT not in layer.sets:
            yield Finding(
                span_of(document, layer.sections, key=True),
                f"layer `{layer.name}` has no shared experts: its groups share nothing",
                label="no shared experts",
                help="give the root at least one expert: `shared: 2`",
            )


@rule("HS405", "single-group", Severity.WARNING)
def single_group(root: TreeNode, document: Document) -> Iterator[Finding]:
    """All tasks are below one group.

    The hierarchy mask against expert degradation keeps groups apart (HOME.md section 3). With one
    group there is nothing to keep apart: its experts serve the same tasks as the shared ones.
    """
    for node in root.walk():
        if node.role is not Role.TASK and len(node.children) == 1:
            (only,) = node.children
            if only.role is Role.GROUP:
                yield Finding(
                    document.span(("groups", only.name), key=True),
                    f"`{only.name}` is the only group"
                    + (f" in `{node.name}`" if node.role is Role.GROUP else ""),
                    label="serves the same tasks as the experts above it",
                    help="split the tasks into groups that behave alike, such as passive watching "
                    "and active interaction",
                )


@rule("HS406", "one-task-group", Severity.WARNING)
def one_task_group(root: TreeNode, document: Document) -> Iterator[Finding]:
    """A group of one task.

    Group experts are there to be shared by similar tasks. With one task they are merely more
    experts of that task, behind another gate. Sometimes that is what one wants, for a task that
    resembles no other: then ignore the rule with a reason.
    """
    for group in root.of(Role.GROUP):
        if len(group.children) == 1 and group.children[0].role is Role.TASK:
            yield Finding(
                document.span(("groups", group.name)),
                f"group `{group.name}` has one task, `{group.children[0].name}`",
                label="nothing to share with",
                help="move the task to the group that it resembles most, or ignore this rule",
            )


@rule("HS407", "sparse-without-own", Severity.WARNING)
def sparse_without_own(spec: Spec, layers: list[Layer], document: Document) -> Iterator[Finding]:
    """A sparse task without experts of its own.

    HoME's third anomaly is underfitting of sparse tasks: dense tasks write the shared and group
    experts, and a task with few positives (below 1 %, homespec's own threshold) finds nothing there
    that fits. An expert of its own keeps a place that only this task's gradient reaches.
    """
    for name, task in spec.tasks.items():
        sparse = task.rate is not None and task.rate < SPARSE_RATE
        if sparse and name not in layers[-1].sets:
            yield Finding(
                document.span(("tasks", name), key=True),
                f"task `{name}` is sparse (rate {task.rate:g}) and has no experts of its own",
                label="underfits easily",
                help=f"add `{name}: 1` to the `experts` of the last layer"
                if spec.topology
                else f"add `experts.task.nodes: {{{name}: 1}}`",
            )


@rule("HS408", "no-underfitting-gates", Severity.WARNING)
def no_underfitting_gates(layers: list[Layer], document: Document) -> Iterator[Finding]:
    """A layer with neither feature gates nor self gates.

    Both are HoME's remedies against underfitting: the feature gate gives each expert set its own
    view of the input, the self gate gives each set a direct gradient (HOME.md sections 4 and 5).
    """
    for layer in layers:
        if not layer.gates.feature.enabled and not layer.gates.self.enabled:
            yield Finding(
                document.span(("gates",), key=True),
                f"layer `{layer.name}` has neither feature gates nor self gates",
                label="both are off",
                help="leave at least one of `feature` and `self` on",
            )


@rule("HS409", "rank-not-low", Severity.WARNING)
def rank_not_low(graph: Graph) -> Iterator[Finding]:
    """A LoRA whose rank is no longer low.

    A LoRA of rank r on a width n costs 2 n r weights, a full matrix n². From r = n/2 on the
    low-rank form saves nothing.
    """
    for gate in graph.of(FeatureGate):
        if 2 * gate.rank > gate.width:
            yield Finding(
                gate.span,
                f"the feature gate of `{gate.place}` in layer `{gate.layer}` has rank {gate.rank} "
                f"on an input of width {gate.width}",
                label="more weights than a full matrix",
                help=f"use a rank of at most {max(1, gate.width // 4)}",
            )


@rule("HS410", "label-leak", Severity.WARNING)
def label_leak(spec: Spec, document: Document) -> Iterator[Finding]:
    """A label is also an input.

    A model that reads a label predicts it perfectly offline and is worthless online, where the
    label is not yet known. The left side of a comparison counts as the label, its right side (such
    as `duration_ms` in `play_time_ms >= duration_ms`) does not.
    """
    labels = {parse_label(task.label).column: name for name, task in reversed(spec.tasks.items())}
    for name, feature in spec.features.items():
        if feature.column in labels:
            task = labels[feature.column]
            yield Finding(
                document.span(("features", name), key=True),
                f"feature `{name}` reads `{feature.column}`, the label of task `{task}`",
                label="an input",
                related=(Label(document.span(("tasks", task), key=True), "its label"),),
                help="remove the feature",
            )


@rule("HS411", "repeated-label", Severity.WARNING)
def repeated_label(spec: Spec, document: Document) -> Iterator[Finding]:
    """Two tasks are trained on the same label.

    They would learn the same thing with twice the weight; usually one was copied from the other and
    its label forgotten.
    """
    first: dict[tuple[str, str], str] = {}
    for name, task in spec.tasks.items():
        other = first.setdefault((str(parse_label(task.label)), task.where), name)
        if other != name:
            yield Finding(
                document.span(("tasks", name), key=True),
                f"tasks `{other}` and `{name}` have the same label, `{task.label}`",
                label="again",
                related=(Label(document.span(("tasks", other), key=True), "first here"),),
                help="give one of them its own label, or raise `weight` if that was meant",
            )


@rule("HS412", "rates-far-apart", Severity.WARNING)
def rates_far_apart(spec: Spec, root: TreeNode, document: Document) -> Iterator[Finding]:
    """A group whose tasks have base rates more than a hundredfold apart.

    The dense task's gradient then writes the group's experts and the sparse one gets what is left:
    degradation and underfitting within a group. HoME groups tasks by behaviour, which also keeps
    their rates near each other. The factor 100 is homespec's own.
    """
    for group in root.of(Role.GROUP):
        rates = {
            n.name: spec.tasks[n.name].rate
            for n in group.children
            if n.role is Role.TASK and spec.tasks[n.name].rate is not None
        }
        if len(rates) < 2:
            continue
        low, high = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
        if rates[high] > RATE_SPREAD * rates[low]:
            yield Finding(
                document.span(("groups", group.name), key=True),
                f"group `{group.name}` mixes `{high}` (rate {rates[high]:g}) with `{low}` "
                f"(rate {rates[low]:g})",
                label="more than a hundredfold apart",
                help="give the sparse tasks a group of their own",
            )


@rule("HS413", "self-gate-without-set", Severity.WARNING)
def self_gate_without_set(layers: list[Layer], document: Document) -> Iterator[Finding]:
    """Self gates are on, but a node that outputs a state owns no experts.

    A self gate is a residual over the node's own set (HOME.md section 5); without a set there is
    none, and the node has only what it shares with others.
    """
    for layer in layers:
        for node in layer.outputs:
            if layer.gates.self.enabled and node.name not in layer.sets:
                yield Finding(
                    span_of(document, _of_node(layer, node), key=True),
                    f"`{node.name}` has no experts in layer `{layer.name}`, so no self gate",
                    label="no experts",
                    help="give it an expert, or switch self gates off in this layer",
                )
                break


def _of_node(layer: Layer, node: TreeNode) -> tuple[Path, ...]:
    """Where the spec speaks of a node's role in a layer."""
    return (*((*path, node.role.value) for path in layer.sections[:2]), *layer.sections)


@rule("HS414", "wide-table", Severity.WARNING)
def wide_table(spec: Spec, document: Document) -> Iterator[Finding]:
    """An embedding as wide as its table is long.

    A table of n rows has at most n independent directions: a wider embedding adds parameters and
    GEMM time, and no information.
    """
    for name, feature in spec.features.items():
        if feature.rows and feature.dim > max(feature.rows, 4):
            yield Finding(
                document.span(("features", name), key=True),
                f"feature `{name}` has {feature.rows} rows and an embedding of width {feature.dim}",
                label="wider than the table is long",
                help=f"use `dim: {max(2, feature.rows // 2)}` or less",
            )
