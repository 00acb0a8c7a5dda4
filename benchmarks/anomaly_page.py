"""The tables and figures of docs/anomalies*.md, from what benchmarks/anomalies.py measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import lab
import matplotlib
import matplotlib.pyplot as plt

from homespec.atomic_write import replacing, write_texts

Json = dict[str, Any]
Found = dict[str, list[Json]]
"""By case, the measures of each seed, at the start and trained."""

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "docs" / "anomalies-experts.md", ROOT / "docs" / "anomalies-gates.md")
PLOTS = ROOT / "docs" / "plots"
TITLES = {"mmoe": "MMoE", "cgc": "CGC", "ple": "PLE", "home": "HoME"}
SUFFIXES = {
    "torch": "torch's start", "home_experts": "HoME's experts", "relu": "ReLU, no norm",
    "lr_4": "4 × lr", "lr_16": "16 × lr", "epochs_4": "4 epochs", "deep": "4 hidden layers",
    "wide": "2 × width", "home_experts_lr_16": "HoME's experts, 16 × lr",
}  # fmt: skip
ABLATIONS = {
    "no_norm": "HoME, no norm", "no_mask": "HoME, no mask",
    "no_feature_gate": "HoME, no feature gates", "no_self_gate": "HoME, no self gates",
}  # fmt: skip
STATES = {"start": "at the start", "trained": "trained"}
COLLAPSED = 0.9
"""The share of zeros that the HoME paper reports of collapsed experts."""
DENSE = 0.01
"""Tasks with a smaller share of positives are left out of the mean AUC."""
SMALLEST = 1e-4
"""Mean outputs below this are drawn at it."""
GREY, BLUE = "#999999", "#1f77b4"


def title(case: str) -> str:
    """How a case is called on the page."""
    if case in ABLATIONS:
        return ABLATIONS[case]
    model = next(name for name in TITLES if case == name or case.startswith(f"{name}_"))
    end = case.removeprefix(model).removeprefix("_")
    return f"{TITLES[model]}, {SUFFIXES[end]}" if end else TITLES[model]


# ---------------------------------------------------------------- tables

Measure = Callable[[Json], float | None]


def _worst(name: str) -> Measure:
    return lambda seen: max(seen[name], default=None)


def _least(name: str) -> Measure:
    return lambda seen: min(seen[name], default=None)


def _average(name: str) -> Measure:
    return lambda seen: statistics.fmean(seen[name]) if seen[name] else None


def _ratio(seen: Json) -> float | None:
    least = min(seen["mean_abs"])
    return max(seen["mean_abs"]) / least if least else None


def _of_tasks(name: str, of: Callable[[Iterable[float]], float]) -> Measure:
    def measure(seen: Json) -> float | None:
        known = [task[name] for task in seen["tasks"].values() if task[name] is not None]
        return of(known) if known else None

    return measure


def _auc(seen: Json) -> float:
    dense = [task["auc"] for task in seen["tasks"].values() if task["rate"] > DENSE]
    return statistics.fmean(dense)


COLLAPSE: dict[str, Measure] = {
    "zeros, mean": _average("zeros"),
    "zeros, most": _worst("zeros"),
    "experts over 90 %": lambda seen: sum(share > COLLAPSED for share in seen["zeros"]),
    "dead channels, mean": _average("dead_channels"),
    "dead channels, most": _worst("dead_channels"),
    "scale ratio": _ratio,
    "similarity, most": _worst("similarity"),
    "AUC, mean": _auc,
}
SHARING: dict[str, Measure] = {
    "owned, most": _worst("owned"),
    "evenness, least": _least("evenness"),
    "perplexity of gates": itemgetter("perplexity"),
    "spread over rows": itemgetter("spread"),
    "own weight / fair, least": _of_tasks("own_weight", min),
    "own contribution / fair, least": _of_tasks("own_contribution", min),
}


def table(found: Found, measures: dict[str, Measure]) -> Iterator[str]:
    """A line for each case: each measure, at the start → trained, as means over seeds."""
    rows = (
        [title(case), str(len(runs)), *(_change(runs, measure) for measure in measures.values())]
        for case, runs in found.items()
    )
    return lab.table(["model", "seeds", *measures], rows)


def _change(runs: list[Json], measure: Measure) -> str:
    return " → ".join(_mean([measure(run[state]) for run in runs]) for state in STATES)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):.3g}" if known else "–"


def tasks(found: Found, names: Sequence[str]) -> Iterator[str]:
    """A line for each task: its own experts by their fair share, and what it loses without them."""
    shown = [name for name in names if name in found]
    if not shown:
        return iter(())
    first = found[shown[0]][0]["trained"]["tasks"]
    head = [f"{title(case)}: {what}" for case in shown for what in ("contribution", "loss without")]
    rows = []
    for task, of_first in first.items():
        cells = []
        for case in shown:
            seen = [run["trained"]["tasks"][task] for run in found[case]]
            without = [None if s["without_own"] is None else 100 * s["without_own"] for s in seen]
            cells += [_mean([s["own_contribution"] for s in seen]), f"{_mean(without)} %"]
        rows.append([task, f"{100 * of_first['rate']:.2g} %", *cells])
    return lab.table(["task", "positives", *head], rows)


def findings(found: Found) -> Iterator[str]:
    """A line for each case: how many findings the doctor has in a trained model, by rule."""
    counts = {
        case: {
            rule: [run["trained"]["findings"].get(rule, 0) for run in runs]
            for rule in dict.fromkeys(r for run in runs for r in run["trained"]["findings"])
        }
        for case, runs in found.items()
    }
    rules = sorted({rule for of_case in counts.values() for rule in of_case})
    rows = (
        [title(case), *(f"{statistics.fmean(of_case.get(rule, [0])):.3g}" for rule in rules)]
        for case, of_case in counts.items()
    )
    return lab.table(["model", *rules], rows)


# ---------------------------------------------------------------- figures


def strips(axes: Any, found: Found, cases: Sequence[str], measure: str, least: float = 0.0) -> None:
    """A dot for each expert of each seed, at the start (grey) and trained (blue)."""
    for place, case in enumerate(cases):
        for shift, (state, color) in enumerate(zip(STATES, (GREY, BLUE), strict=True)):
            values = [max(value, least) for run in found[case] for value in run[state][measure]]
            across = [
                place - 0.18 + 0.36 * shift + 0.012 * (n % 11 - 5) for n in range(len(values))
            ]
            label = STATES[state] if not place else None
            look = {"s": 6, "color": color, "alpha": 0.5, "linewidths": 0, "rasterized": True}
            axes.scatter(across, values, **look, label=label)
    axes.set_xticks(range(len(cases)), [title(case) for case in cases], rotation=35, ha="right")
    axes.grid(alpha=0.3, axis="y")


def collapse(found: Found, cases: Sequence[str], path: Path) -> None:
    """Zeros, dead channels and sizes of the outputs of all experts."""
    shown = {
        "zeros": "share of zeros", "dead_channels": "share of dead channels",
        "mean_abs": f"mean |a|, at least {SMALLEST:g}",
    }  # fmt: skip
    figure, rows = plt.subplots(len(shown), figsize=(9, 9), sharex=True)
    for axes, (measure, name) in zip(rows, shown.items(), strict=True):
        strips(axes, found, cases, measure, SMALLEST if measure == "mean_abs" else 0.0)
        axes.set_ylabel(name)
    rows[0].axhline(COLLAPSED, color="black", linewidth=0.8, linestyle=":")
    rows[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, markerscale=3)
    rows[-1].set_yscale("log")
    _save(figure, path)


def sharing(found: Found, cases: Sequence[str], path: Path) -> None:
    """Who uses an expert that several gates see, and what tasks take from their own."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6))
    strips(left, found, cases, "owned")
    left.set_ylabel("share of the gate that uses an expert most")
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, markerscale=3)
    for case, marker in zip([c for c in cases if _has_own(found, c)], "osD^vPX*", strict=False):
        of_tasks = [run["trained"]["tasks"] for run in found[case]]
        rates = [of_tasks[0][task]["rate"] for task in of_tasks[0]]
        own = [
            statistics.fmean(s[task]["own_contribution"] for s in of_tasks) for task in of_tasks[0]
        ]
        right.plot(rates, own, marker, label=title(case), markersize=5, alpha=0.8)
    right.axhline(1, color="black", linewidth=0.8, linestyle=":")
    right.set(xscale="log", xlabel="share of positives of the task")
    right.set_ylabel("contribution of own experts / fair share")
    right.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    right.grid(alpha=0.3)
    _save(figure, path)


def _has_own(found: Found, case: str) -> bool:
    tasks_of = found[case][0]["trained"]["tasks"].values()
    return all(task["own_contribution"] is not None for task in tasks_of)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    with replacing(path) as (temporary,):
        figure.savefig(temporary, format="svg", metadata={"Date": None}, dpi=200)
    plt.close(figure)


# ---------------------------------------------------------------- the pages


def blocks(found: Found) -> dict[str, Iterator[str]]:
    """The tables of the pages, by the names of their places."""
    return {
        "collapse": table(found, COLLAPSE),
        "sharing": table(found, SHARING),
        "tasks": tasks(found, ("cgc", "ple", "home")),
        "findings": findings(found),
    }


def write(found: Found) -> None:
    """Draw the figures and write the pages' tables."""
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "homespec"  # the same bytes each time
    main = [case for case in found if not any(case.endswith(f"_{end}") for end in SIDE)]
    side = [case for case in found if case not in main]
    collapse(found, main, PLOTS / "anomalies-collapse.svg")
    sharing(found, [case for case in main if case != "home_relu"], PLOTS / "anomalies-sharing.svg")
    if side:
        harder = [c for name in TITLES for c in found if _is_harder(c, name) or c == name]
        models = {name for name in TITLES if any(_is_harder(case, name) for case in side)}
        shown = [case for case in harder if case.partition("_")[0] in models]
        collapse(found, shown, PLOTS / "anomalies-harder.svg")
    made = blocks(found)
    write_texts({page: lab.filled(page, made) for page in PAGES})


def _is_harder(case: str, model: str) -> bool:
    return case in {f"{model}_{end}" for end in SIDE}


SIDE = ("lr_4", "lr_16", "epochs_4", "deep", "wide", "home_experts_lr_16")
"""The ends of the names of cases that are trained harder."""
