"""Benchmark: draws the times of each variant as bars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from homespec.atomic_write import replacing
from homespec.bench.measurements import Case, Result
from homespec.bench.timing import Spread
from homespec.bench.variants import VARIANTS


def plot(result: Result, path: Path) -> None:
    """Write the picture: a chart for each measure, and one of compile times if there are any."""
    matplotlib.use("Agg")
    charts = [chart for case in result.cases for chart in _charts(case)]
    inches = [1 + 0.35 * len(bars) for *_, bars in charts]
    figure, axes = plt.subplots(
        len(charts), figsize=(7, sum(inches) + 0.5), height_ratios=inches, squeeze=False
    )
    for ax, (title, unit, bars) in zip(axes[:, 0], charts, strict=True):
        medians = [spread.median for spread in bars.values()]
        quartiles = [
            [spread.median - spread.low for spread in bars.values()],
            [spread.high - spread.median for spread in bars.values()],
        ]
        ax.bar_label(ax.barh(list(bars), medians, xerr=quartiles), fmt="%.3g", padding=3)
        ax.set(title=title, xlabel=unit)
        ax.margins(x=0.15)
        ax.invert_yaxis()
    batches = ", ".join(map(str, result.settings.batches))
    figure.suptitle(f"{result.spec}, batch {batches}, {result.place}", fontsize=9)
    figure.tight_layout()
    with replacing(path) as (temporary,):
        figure.savefig(temporary, dpi=150)
    plt.close(figure)


def _charts(case: Case) -> Iterator[tuple[str, str, dict[str, Spread]]]:
    """Title, unit, and the length of each bar with its quartiles."""
    for measure in case.times:
        name = {"step": "training step"}.get(measure, measure)
        yield f"{name}, {case.size}", "ms", case.spreads(measure)
    if seconds := compile_seconds(case):
        bars = {name: Spread(took, took, took) for name, took in seconds.items()}
        yield f"first step under torch.compile, {case.size}", "s", bars


def compile_seconds(case: Case) -> dict[str, float]:
    """Compile times by variant and cache; if none were requested, those of the first steps here."""
    seconds = {
        f"{name}, {cache}": took.wall
        for name, facts in case.facts.items()
        for cache, took in facts.compiling.items()
    }
    return seconds or {
        f"{name}, cache as found": facts.first
        for name, facts in case.facts.items()
        if VARIANTS[name].compiled and facts.first is not None
    }
