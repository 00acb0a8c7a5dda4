"""Benchmark: step time and compile time over the number of tasks, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from homespec.atomic_write import replacing
from homespec.bench.measurements import Case, Result
from homespec.bench.variants import VARIANTS


class NoPlot(Exception):  # noqa: N818  # the user's to mend
    """There is no matplotlib."""


def library() -> Any:
    """matplotlib, drawing into files; raises NoPlot with the remedy if it is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise NoPlot("--plot needs matplotlib: pip install 'homespec[bench]'") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def plot(result: Result, path: Path) -> None:
    """Write the picture: a column for step times and, where measured, one for compile times."""
    plt = library()
    by_precision: dict[str, list[Case]] = {}
    for case in result.cases:
        if "step" in case.times:
            by_precision.setdefault(case.precision, []).append(case)
    wide = 2 if any(_compiling(case) for case in result.cases) else 1
    high = max(1, len(by_precision))
    figure, axes = plt.subplots(high, wide, figsize=(6 * wide, 4 * high), squeeze=False)
    for row, (precision, cases) in zip(axes, by_precision.items(), strict=False):
        _steps(row[0], precision, cases)
        if wide == 2:
            _compile_times(row[1], precision, cases)
    figure.suptitle(f"{result.spec}, batch {result.settings.batch}, {_where(result)}", fontsize=9)
    figure.tight_layout()
    with replacing(path) as (temporary,):
        figure.savefig(temporary, dpi=150)
    plt.close(figure)


def _where(result: Result) -> str:
    machine = result.machine
    return str(machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} threads")


def _axes(axes: Any, title: str, unit: str, cases: list[Case]) -> None:
    from matplotlib import ticker

    counts = [case.tasks for case in cases]
    axes.set(title=title, xlabel="tasks", ylabel=unit, xscale="log", yscale="log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda number, _: f"{number:g}"))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)


def _steps(axes: Any, precision: str, cases: list[Case]) -> None:
    """A line per variant with its quartiles."""
    for name in dict.fromkeys(name for case in cases for name in case.times["step"]):
        found = [(c.tasks, c.spreads("step")[name]) for c in cases if name in c.times["step"]]
        counts = [count for count, _ in found]
        axes.plot(counts, [spread.median for _, spread in found], marker="o", label=name)
        lows, highs = [s.low for _, s in found], [s.high for _, s in found]
        axes.fill_between(counts, lows, highs, alpha=0.2)
    _axes(axes, f"training step, {precision}", "ms", cases)


def _compiling(case: Case) -> dict[tuple[str, str], float]:
    """Seconds by variant and cache; those of the first steps here where none were asked for."""
    found = {
        (name, cache): seconds.wall
        for name, facts in case.facts.items()
        for cache, seconds in facts.compiling.items()
    }
    return found or {
        (name, "cache as found"): facts.first
        for name, facts in case.facts.items()
        if VARIANTS[name].compiled and facts.first is not None
    }


def _compile_times(axes: Any, precision: str, cases: list[Case]) -> None:
    for key in dict.fromkeys(key for case in cases for key in _compiling(case)):
        found = [(c.tasks, _compiling(c)[key]) for c in cases if key in _compiling(c)]
        style = "--" if key[1] == "warm" else "-"
        axes.plot(*zip(*found, strict=True), style, marker="o", label=", ".join(key))
    _axes(axes, f"first step under torch.compile, {precision}", "s", cases)
