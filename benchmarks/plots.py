"""Draw docs/plots/small.png from benchmarks/results/small.json: times over the number of tasks.

    python benchmarks/plots.py [RESULT.json PICTURE.png]

The file is what benchmarks/scaling.py writes. A column has step times with their quartiles, one
the first steps under torch.compile; a row each precision.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lab
import matplotlib
import matplotlib.pyplot as plt
from matplotlib import ticker

from homespec.atomic_write import replacing

PLOT = Path(__file__).parent.parent / "docs" / "plots" / "small.png"
Cases = list[dict[str, Any]]


def plot(result: dict[str, Any], path: Path) -> None:
    """Write the picture."""
    matplotlib.use("Agg")
    cases: Cases = result["cases"]
    precisions = list(dict.fromkeys(case["precision"] for case in cases))
    figure, axes = plt.subplots(
        len(precisions), 2, figsize=(12, 4 * len(precisions)), squeeze=False
    )
    for (left, right), precision in zip(axes, precisions, strict=True):
        of_it = [case for case in cases if case["precision"] == precision]
        steps(left, of_it)
        compile_times(right, of_it)
        label(left, f"training step, {precision}", "ms", of_it)
        label(right, f"first step under torch.compile, {precision}", "s", of_it)
    machine, batch = result["machine"], lab.batches(result["settings"])
    where = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} threads"
    figure.suptitle(f"{result['spec']}, batch {batch}, {where}", fontsize=9)
    figure.tight_layout()
    with replacing(path) as (temporary,):
        figure.savefig(temporary, dpi=150)
    plt.close(figure)


def steps(axes: Any, cases: Cases) -> None:
    """A line per variant with its quartiles."""
    for name in dict.fromkeys(name for case in cases for name in case["milliseconds"]["step"]):
        spreads = {
            case["tasks"]: case["milliseconds"]["step"][name]
            for case in cases
            if name in case["milliseconds"]["step"]
        }
        low, median, high = (
            [spread[part] for spread in spreads.values()] for part in ("low", "median", "high")
        )
        axes.plot(list(spreads), median, marker="o", label=name)
        axes.fill_between(list(spreads), low, high, alpha=0.2)


def compile_times(axes: Any, cases: Cases) -> None:
    """A line per variant and cache, of the clock; of this process where no others were started."""
    for name in dict.fromkeys(name for case in cases for name in case["facts"]):
        if "compiled" not in name:
            continue
        facts = {case["tasks"]: case["facts"][name] for case in cases if name in case["facts"]}
        caches = next(iter(facts.values()))["compiling"]
        for cache in caches:
            seconds = [fact["compiling"][cache]["wall"] for fact in facts.values()]
            style = "--" if cache == "warm" else "-"
            axes.plot(list(facts), seconds, style, marker="o", label=f"{name}, {cache}")
        if not caches:
            seconds = [fact["first"] for fact in facts.values()]
            axes.plot(list(facts), seconds, marker="o", label=f"{name}, cache as found")


def label(axes: Any, title: str, unit: str, cases: Cases) -> None:
    """Logarithmic axes, with the numbers of tasks as ticks."""
    counts = [case["tasks"] for case in cases]
    axes.set(title=title, xlabel="tasks", ylabel=unit, xscale="log", yscale="log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda number, _: f"{number:g}"))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:] or (lab.RESULTS / "small.json", PLOT))
    plot(json.loads(source.read_text(encoding="utf-8")), target)
