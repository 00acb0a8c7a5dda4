"""The doctor's report: a drawing of the whole model, from the input to the towers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from homespec.doctor.report import svg
from homespec.doctor.report.layout import HEAD, INDENT, LETTER, LINE, MARK, SQUARE, Layout
from homespec.doctor.report.marks import Found
from homespec.doctor.report.needs import is_better, level, step
from homespec.doctor.report.svg import Point
from homespec.graph.nodes import ExpertSet, Mix, Product, SelfGate, Tower
from homespec.health.losses import Losses
from homespec.health.measures import Expert, Gate, Source, Task, short
from homespec.health.tables import metric

BOX = SQUARE - 2
Marks = Mapping[str, Sequence[Found]]


def names(layout: Layout) -> str:
    """The names of the rows: the task tree."""
    return svg.drawing(names_width(layout), layout.height, "The task tree", _tree(layout))


def names_width(layout: Layout) -> float:
    """The width of the names."""
    return max(r.depth * INDENT + len(r.name) * LETTER for r in layout.rows.values()) + 18


def _tree(layout: Layout) -> Iterator[str]:
    parents: list[float] = []
    for row in layout.rows.values():
        x, y = row.depth * INDENT + 4, row.middle
        del parents[row.depth :]
        if parents:
            elbow = [(x - 8, parents[-1] + 8), (x - 8, y), (x - 2, y)]
            yield svg.line(elbow, "grid")
        parents.append(y)
        yield svg.text(x, y + 4, row.name, "label")


def flow(layout: Layout, losses: Losses, marked: Marks) -> str:
    """Experts are squares, gates are dots, towers are flags, and mean weights are links."""
    gates = {gate.name: gate for gate in losses.health.gates}
    with_self = {(node.place, node.layer) for node in layout.graph.of(SelfGate)}
    shapes = [
        *heads(layout),
        *bands(layout),
        *(svg.link(start, end, 1, "feed") for start, end in layout.feeds()),
        *(shape for node in layout.states for shape in _links(layout, node, gates, losses)),
        *(shape for node in layout.sets for shape in _set(layout, node, losses, marked)),
    ]
    for node in layout.states:
        gate = gates.get(f"gates.{short(node.name)}")
        shapes += _gate(layout.state(node), gate, (node.place, node.layer) in with_self, marked)
    for end in layout.ends:
        shapes += _end(layout, end, losses.tasks[end.task], marked)
    label = f"The model: {len(layout.sets)} sets of experts in {len(layout.layers)} layers"
    return svg.drawing(layout.width, layout.height, label, shapes, "group")


def heads(layout: Layout) -> Iterator[str]:
    """The headings of the columns."""
    for layer in layout.layers:
        yield svg.text(layout.left(layer), 14, f"experts of {layer}", "small")
        yield svg.text(layout.gates_x(layer), 14, "gates", "small", "middle")
    yield svg.text(layout.towers_x, 14, "towers", "small")


def bands(layout: Layout) -> Iterator[str]:
    """The lines between rows, and the input."""
    for row in layout.rows.values():
        yield svg.line([(0, row.above), (layout.width, row.above)], "grid")
    yield svg.rect(0, HEAD + 2, 6, layout.height - HEAD - 8, "bus", "the input of the model")


# ---------------------------------------------------------------- links


def _links(layout: Layout, node: Mix, gates: Mapping[str, Gate], losses: Losses) -> Iterator[str]:
    gate = gates.get(f"gates.{short(node.name)}")
    sources = {source.set: source for source in gate.sources} if gate else {}
    for port in node.sets:
        start = layout.set_ends(layout.set_named[port.node])
        source = sources.get(port.node)
        if source is None:
            yield svg.link(start, layout.state(node), 10, "link", "all of it")
        else:
            yield _link(start, layout.state(node), source, node.path[0], losses)


def _link(start: Point, end: Point, source: Source, owner: str, losses: Losses) -> str:
    title = f"{owner} takes {source.weight:.0%} from {source.owner} (fair {source.fair:.0%})"
    few = source.contribution_with_self < losses.health.thresholds.ignored * source.fair
    if few:
        title += f", and it is {source.contribution_with_self:.1%} of the mixture"
    return svg.link(start, end, 0.5 + 11 * source.weight, "link few" if few else "link", title)


# ---------------------------------------------------------------- parts


def _set(layout: Layout, node: ExpertSet, losses: Losses, marked: Marks) -> Iterator[str]:
    x, y = layout.set_starts(node)
    gate = f"feature_gates.{short(node.name)}"
    if layout.has_feature_gate(node):
        if gate in marked:
            yield _badge((x - 14, y), marked[gate])
        else:
            yield diamond((x - 12, y))
    if node.name in marked:
        yield _badge((x - 32, y), marked[node.name])
    for index, place in enumerate(layout.squares(node)):
        expert = losses.experts[f"{node.name}.{index}"]
        yield from _expert(place, expert, losses, marked.get(expert.name, ()))


def diamond(middle: Point) -> str:
    """A feature gate."""
    x, y = middle
    points = [(x - 5, y), (x, y - 5), (x + 5, y), (x, y + 5)]
    return svg.shape(points, "diamond", "a feature gate")


def _expert(place: Point, expert: Expert, losses: Losses, found: Sequence[Found]) -> Iterator[str]:
    """A square, filled as high as the expert is needed, or with the number of a finding."""
    (x, y), most = place, losses.most("without_expert", expert.name)
    title = describe(expert, losses)
    if found:
        shapes = [
            svg.rect(x, y, BOX, BOX, f"mark {found[0].severity}", title),
            svg.text(x + BOX / 2, y + 11, str(found[0].number), "number", "middle"),
        ]
        yield svg.anchor(f"#finding-{found[0].number}", _address(found), shapes)
        return
    yield svg.rect(x, y, BOX, BOX, "frame", title)
    if most is None or is_better(most):
        yield svg.text(x + BOX / 2, y + 11, "?" if most is None else "−", "number", "middle")
    else:
        high = max(1.5, BOX * level(most) / 4)
        yield svg.rect(x, y + BOX - high, BOX, high, f"fill {step(most)}")


def describe(expert: Expert, losses: Losses) -> str:
    """The tooltip of an expert."""
    most = losses.most("without_expert", expert.name)
    need = "not judged"
    if most is not None:
        need = f"without it {most.change:+.2%} of the loss of {most.task}"
        need += "" if most.sure else f" (95 % interval {most.low:+.2%} to {most.high:+.2%})"
    size = f"mean |a| {expert.mean_abs:.3g}, zeros {expert.zeros:.0%}"
    return f"{short(expert.name)}: {need}; {size}"


def _gate(place: Point, gate: Gate | None, with_self: bool, marked: Marks) -> Iterator[str]:
    (x, y), title = place, "no gate: one expert"
    if gate is not None and len(gate.experts) > 1:
        title = f"perplexity {gate.perplexity:.2f}; std over rows {gate.variance_rows**0.5:.3f}"
    if gate is not None and gate.name in marked:
        yield _badge(place, marked[gate.name])
        return
    if with_self:
        yield svg.circle(x, y, 7.5, "ring", "with a self gate")
    yield svg.circle(x, y, 4.5, "gate", title)


def _end(layout: Layout, node: Tower | Product, task: Task, marked: Marks) -> Iterator[str]:
    x, y = layout.end(node)
    if isinstance(node, Tower):
        yield svg.shape([(x, y - 7), (x + 10, y - 4), (x + 10, y + 4), (x, y + 7)], "gate")
    else:
        yield svg.text(x + 4, y + 4, " × ".join(node.factors) + " =", "small", "end")
    at = x + SQUARE
    if task.name in marked:
        yield _badge((at + 8, y), marked[task.name])
        at += MARK
    yield svg.text(at, y + 4, task.name, "label")
    yield svg.text(layout.quality_x, y + 4, _quality(task), "small")


def _quality(task: Task) -> str:
    if task.kind == "binary":
        return f"AUC {metric(task.auc, 3)}"
    return f"loss {task.loss:.3g}" if task.rows else "loss –"


def _badge(middle: Point, found: Sequence[Found]) -> str:
    """The number of a finding, as a link to it."""
    (x, y), first = middle, found[0]
    shapes = [
        svg.circle(x, y, LINE / 2 - 1.5, f"mark {first.severity}", _address(found)),
        svg.text(x, y + 4, str(first.number), "number", "middle"),
    ]
    return svg.anchor(f"#finding-{first.number}", _address(found), shapes)


def _address(found: Sequence[Found]) -> str:
    return ", ".join(f"finding {one.number}: {one.rule}" for one in found)
