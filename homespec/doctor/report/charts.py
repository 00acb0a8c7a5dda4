"""The doctor's report: outputs of experts on one axis, calibration and losses of tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from homespec.doctor.report import svg
from homespec.doctor.report.svg import Axis
from homespec.health.measures import (
    Calibration,
    Effect,
    Expert,
    LossPoint,
    Task,
    short,
)
from homespec.health.tables import verdict
from homespec.scoring.intervals import Z

ROW = 18
WIDTH = 760
LABELS = 200


def distributions(experts: Sequence[Expert]) -> str:
    """A chart of the quantiles of all experts' outputs: 1 to 99 %, 5 to 95 %, quartiles."""
    low = min(min(expert.quantiles) for expert in experts)
    high = max(max(expert.quantiles) for expert in experts)
    axis = Axis(low, high if high > low else low + max(1, abs(low)), LABELS, WIDTH - 20)
    shapes = list(_ticks(axis, len(experts) * ROW + 6))
    for number, expert in enumerate(experts):
        shapes += _box(expert, axis, number * ROW + ROW / 2 + 4)
    height = len(experts) * ROW + 26
    return svg.drawing(WIDTH, height, "Quantiles of the outputs of experts", shapes)


def _box(expert: Expert, axis: Axis, y: float) -> Iterator[str]:
    first, fifth, quarter, middle, three, ninety, last = map(axis, expert.quantiles)
    title = ", ".join(f"{value:.3g}" for value in expert.quantiles)
    yield svg.text(LABELS - 8, y + 4, short(expert.name), "small", "end")
    yield svg.line([(first, y), (last, y)], "tail")
    yield svg.line([(fifth, y), (ninety, y)], "arm")
    yield svg.rect(quarter, y - 5, max(1.0, three - quarter), 10, "box", title)
    yield svg.line([(middle, y - 6), (middle, y + 6)], "middle")


def _ticks(axis: Axis, height: float) -> Iterator[str]:
    for value in nice_ticks(axis.low, axis.high):
        x = axis(value)
        yield svg.line([(x, 0), (x, height)], "grid")
        yield svg.text(x, height + 14, f"{value:g}", "small", "middle")


def nice_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """About `count` round numbers from `low` to `high`."""
    rough = (high - low) / count
    base = 10 ** math.floor(math.log10(rough))
    step = next(base * each for each in (1, 2, 5, 10) if base * each >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    digits = 1 - math.floor(math.log10(step))
    return [round(number * step, digits) for number in range(first, last + 1)]


def changes(effects: Sequence[Effect]) -> str:
    """A chart of the changes of losses with their intervals. Left of 0 is better.

    An interval much wider than all changes is cut off at the edge.
    """
    most = 2 * max(abs(e.change) for e in effects) or 1.0
    axis = Axis(-100 * most, 100 * most, LABELS, WIDTH - 100)
    height = len(effects) * ROW + 6
    shapes = [*_ticks(axis, height), svg.line([(axis(0), 0), (axis(0), height)], "middle")]
    for number, effect in enumerate(effects):
        shapes += _change(effect, axis, number * ROW + ROW / 2 + 4)
    shapes.append(svg.text(LABELS, height + 30, "better", "small"))
    shapes.append(svg.text(WIDTH - 100, height + 30, "worse", "small", "end"))
    return svg.drawing(WIDTH, height + 36, "Changes of losses in % of them", shapes)


def _change(effect: Effect, axis: Axis, y: float) -> Iterator[str]:
    low, middle, high = (axis(100 * each) for each in (effect.low, effect.change, effect.high))
    title = f"{effect.change:+.2%}, {effect.low:+.2%} to {effect.high:+.2%}"
    yield svg.text(LABELS - 8, y + 4, effect.task, "small", "end")
    yield svg.line([(low, y), (high, y)], "arm")
    yield svg.circle(middle, y, 4.5, "point" if effect.sure else "ring", title)
    yield svg.text(WIDTH - 92, y + 4, f"{effect.change:+.2%} {verdict(effect)}", "small")


SIDE, MARGIN = 130, 42


def calibration(task: Task) -> str:
    """A chart of predicted against observed shares of positives, on equal logarithmic axes.

    Lines are 95 % intervals of the observed shares. A ring at the lower edge marks rows without a
    positive.
    """
    values = [each for p in task.calibration for each in (p.predicted, p.observed) if each > 0]
    if not values:
        return ""
    low, high = math.log10(min(values)), math.log10(max(values))
    low, high = low - 0.1, min(0.0, max(high, low + 0.3) + 0.1)
    across = Axis(low, high, MARGIN, MARGIN + SIDE)
    up = Axis(low, high, SIDE + 8, 8)
    shapes = [svg.line([(across(low), up(low)), (across(high), up(high))], "grid")]
    for point in task.calibration:
        shapes += _part(point, across, up)
    shapes += [
        svg.text(across(low), SIDE + 24, f"{10**low:.2g}", "small"),
        svg.text(across(high), SIDE + 24, f"{10**high:.2g}", "small", "end"),
    ]
    return svg.drawing(SIDE + MARGIN + 10, SIDE + 30, f"Calibration of {task.name}", shapes)


def _part(point: Calibration, across: Axis, up: Axis) -> Iterator[str]:
    """Consecutive rows in the order of their predictions."""
    x, least = across(_log(point.predicted)), 10**up.low
    low, high = share_interval(point.observed, point.rows)
    ends = [(x, up(_log(max(each, least)))) for each in (low, high)]
    title = f"{point.predicted:.3%}: {point.observed:.3%} ({low:.3%} to {high:.3%})"
    yield svg.line(ends, "arm")
    at = up(_log(max(point.observed, least)))
    yield svg.circle(x, at, 3.5, "point" if point.observed else "ring", title)


def _log(share: float) -> float:
    return math.log10(share) if share > 0 else -math.inf


def share_interval(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not rows:
        return 0.0, 1.0
    scale = 1 + Z * Z / rows
    middle = share + Z * Z / (2 * rows)
    half = Z * math.sqrt(share * (1 - share) / rows + (Z / (2 * rows)) ** 2)
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def losses(task: Task) -> str:
    """A chart of a task's training loss by step, and its mean over a sixth of the steps."""
    points: Sequence[LossPoint] = [p for p in task.losses if math.isfinite(p.loss)]
    if len(points) < 2:
        return ""
    low, high = min(p.loss for p in points), max(p.loss for p in points)
    across = Axis(points[0].step, points[-1].step, MARGIN, MARGIN + SIDE)
    up = Axis(low, high if high > low else low + 1, SIDE + 4, 10)
    smooth = running_means([p.loss for p in points], max(1, len(points) // 12))
    title = f"from {points[0].loss:.4g} to {points[-1].loss:.4g}"
    shapes = [
        svg.line([(across(p.step), up(p.loss)) for p in points], "curve raw"),
        svg.line(
            [(across(p.step), up(each)) for p, each in zip(points, smooth, strict=True)],
            "curve", title,
        ),
        svg.text(MARGIN - 4, up(high) + 4, f"{high:.2g}", "small", "end"),
        svg.text(MARGIN - 4, up(low) + 4, f"{low:.2g}", "small", "end"),
        svg.text(MARGIN + SIDE, SIDE + 24, f"step {points[-1].step:,}", "small", "end"),
    ]  # fmt: skip
    return svg.drawing(SIDE + MARGIN + 10, SIDE + 30, f"Training loss of {task.name}", shapes)


def running_means(values: Sequence[float], reach: int) -> list[float]:
    """The mean of each value and its neighbours, up to `reach` places away."""
    parts = (values[max(0, at - reach) : at + reach + 1] for at in range(len(values)))
    return [sum(part) / len(part) for part in parts]
