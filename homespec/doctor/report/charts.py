"""The doctor's report: outputs of experts on one axis, calibration and losses of tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from homespec.doctor.report import svg
from homespec.doctor.report.svg import Axis
from homespec.health.measures import QUANTILES, Expert, LossPoint, Task, short

ROW = 18
WIDTH = 760
LABELS = 200


def distributions(experts: Sequence[Expert]) -> str:
    """The quantiles of the outputs of all experts on one axis: 1 to 99 %, 5 to 95 %, quartiles."""
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
    title = ", ".join(f"{q:.0%}: {v:.3g}" for q, v in zip(QUANTILES, expert.quantiles, strict=True))
    yield svg.text(LABELS - 8, y + 4, short(expert.name), "small", "end")
    yield svg.line([(first, y), (last, y)], "whisker")
    yield svg.line([(fifth, y), (ninety, y)], "whisker wide")
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
    return [round(number * step, 10) for number in range(first, last + 1)]


SIDE, MARGIN = 150, 34


def calibration(task: Task) -> str:
    """Predicted against observed shares of positives, on logarithmic axes of one scale."""
    shown = [p for p in task.calibration if p.predicted > 0 and p.observed > 0]
    values = [value for point in shown for value in (point.predicted, point.observed)]
    if not values:
        return ""
    low, high = math.log10(min(values)), math.log10(max(values))
    low, high = low - 0.1, max(high, low + 0.3) + 0.1
    across = Axis(low, high, MARGIN, MARGIN + SIDE)
    up = Axis(low, high, SIDE + 8, 8)
    ends = [(across(low), up(low)), (across(high), up(high))]
    places = [(across(math.log10(p.predicted)), up(math.log10(p.observed))) for p in shown]
    shapes = [svg.line(ends, "grid"), svg.line(places, "curve")]
    for (x, y), point in zip(places, shown, strict=True):
        title = f"predicted {point.predicted:.3%}, observed {point.observed:.3%}"
        title += f", {point.rows:,} rows"
        shapes.append(svg.circle(x, y, 3, "point", title))
    shapes += [
        svg.text(across(low), SIDE + 24, f"{10**low:.2g}", "small"),
        svg.text(across(high), SIDE + 24, f"{10**high:.2g}", "small", "end"),
        svg.text(MARGIN + SIDE / 2, SIDE + 24, "predicted", "small", "middle"),
    ]
    return svg.drawing(SIDE + MARGIN + 10, SIDE + 30, f"Calibration of {task.name}", shapes)


def losses(task: Task) -> str:
    """The training loss of a task by step."""
    points: Sequence[LossPoint] = [p for p in task.losses if math.isfinite(p.loss)]
    if len(points) < 2:
        return ""
    low, high = min(p.loss for p in points), max(p.loss for p in points)
    across = Axis(points[0].step, points[-1].step, MARGIN, MARGIN + SIDE)
    up = Axis(low, high if high > low else low + 1, SIDE + 4, 10)
    places = [(across(p.step), up(p.loss)) for p in points]
    shapes = [
        svg.line(places, "curve", f"from {points[0].loss:.4g} to {points[-1].loss:.4g}"),
        svg.text(MARGIN - 4, up(high) + 4, f"{high:.2g}", "small", "end"),
        svg.text(MARGIN - 4, up(low) + 4, f"{low:.2g}", "small", "end"),
        svg.text(MARGIN + SIDE, SIDE + 24, f"step {points[-1].step:,}", "small", "end"),
    ]
    return svg.drawing(SIDE + MARGIN + 10, SIDE + 30, f"Training loss of {task.name}", shapes)
