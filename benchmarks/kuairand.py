"""HoME, its family and its ablations on KuaiRand at equal parameter budget, several seeds each.

    python -m examples.kuairand.prepare FOLDER_OF_THE_CSV_FILES .cache/kuairand --log-days
    python benchmarks/kuairand.py .cache/kuairand [--seeds N] [--out runs/kuairand-results]

Trains each model of specs/families and specs/ablations with every seed, all with the same flags
(FLAGS), writes docs/results.md and docs/results-numbers.md. The hidden width of the experts is
chosen for each model so that it has as many parameters as HoME, to 1 %. Existing runs are not run
again; one that was killed is resumed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lab

import homespec
from homespec.analysis.costs import cost_of
from homespec.analysis.spec_diff import model_tree
from homespec.api import LoadedSpec
from homespec.atomic_write import write_texts

ROOT = Path(__file__).resolve().parent.parent
FLAGS = (
    "--batch-size", "256", "--lr", "2.5e-3", "--warmup-steps", "60", "--schedule", "linear",
    "--no-compile", "--gauc-by", "user_id",
)  # fmt: skip
FAMILIES = ("home", "ple", "cgc", "mmoe", "ml_mmoe", "shared_bottom")
ABLATIONS = ("no_norm", "no_mask", "no_feature_gate", "no_self_gate")
FLOORS = {"click": 0.745, "long_view": 0.745, "finish": 0.83, "like": 0.87}
"""What the AUC of HoME has to reach: below them something is broken."""
DENSE = ("click", "long_view", "finish", "like", "profile_enter", "comment_stay")
"""The tasks with enough positives to compare models by."""
BOOSTING = {
    "auc": (0.7472, 0.7519, 0.8286, 0.8831, 0.7309, 0.8046),
    "gauc": (0.6264, 0.6506, 0.8127, 0.6491, 0.6744, 0.6043),
}
"""What benchmarks/boosting.py prints of them, with rates of earlier days."""
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""By number of seeds: the standard errors that hold the middle 95 % of Student's t."""
PAGES = (ROOT / "docs" / "results.md", ROOT / "docs" / "results-numbers.md")


@dataclass(frozen=True)
class Case:
    """A model to train with some seeds."""

    name: str
    spec: str
    changes: tuple[str, ...] = ()
    """Changes of the spec, as `--set` takes them; those of `fitted` follow."""
    flags: tuple[str, ...] = FLAGS

    def loaded(self, *further: str) -> LoadedSpec:
        """The spec with its changes and further ones."""
        return homespec.load(ROOT / self.spec, (*self.changes, *further))

    def fitted(self, budget: int) -> Case:
        """The same with the hidden width with which it has as many parameters as the budget."""
        return replace(self, changes=(*self.changes, hidden(fitting_width(self, budget))))


MODELS = {name: Case(name, f"specs/families/{name}.yaml") for name in FAMILIES} | {
    name: Case(name, f"specs/ablations/{name}.yaml") for name in ABLATIONS
}


def hidden(width: int, depth: int = 1) -> str:
    """The change that gives experts hidden layers of this width."""
    return f"experts.hidden=[{', '.join([str(width)] * depth)}]"


def parameters(case: Case, *further: str) -> int:
    """The number of parameters of the model of a spec."""
    return cost_of(case.loaded(*further).analysis.graph).parameters


def fitting_width(case: Case, budget: int) -> int:
    """The hidden width whose number of parameters comes closest to the budget."""
    low, high = 8, 8192
    while high - low > 1:
        middle = (low + high) // 2
        fits = parameters(case, hidden(middle)) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return min((low, high), key=lambda width: abs(parameters(case, hidden(width)) - budget))


def run(case: Case, seed: int, data: Path, out: Path) -> dict[str, Any]:
    """The metrics of one run, from its file if it was done before with the same spec and flags."""
    folder = out / f"{case.name}-{seed}"
    flags = [*(part for change in case.changes for part in ("--set", change)), *case.flags]
    flags += ["--seed", str(seed)]
    done, asked = folder / "metrics.json", folder / "asked.json"
    wanted = json.dumps({"model": _digest(case), "flags": flags, "data": _stamp(data)})
    same = asked.is_file() and asked.read_text(encoding="utf-8") == wanted
    if not (same and done.is_file()):
        write_texts({asked: wanted})
        command = [
            sys.executable, "-m", "homespec", "train", case.spec, "--data", str(data.resolve()),
            "--out", str(folder.resolve()), "--resume" if same else "--overwrite", *flags,
        ]  # fmt: skip
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603
    metrics: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    return metrics


def _digest(case: Case) -> str:
    """The hash of the model, which comments of the spec do not change."""
    tree = json.dumps(model_tree(case.loaded().analysis), sort_keys=True)
    return hashlib.sha256(tree.encode()).hexdigest()


def _stamp(data: Path) -> str:
    """What the prepared files were made of."""
    return (data / "prepared.json").read_text(encoding="utf-8")


def columns(runs: list[dict[str, Any]], metric: str) -> list[list[float]]:
    """The values of each task, then of the mean over tasks, one for each seed."""
    tasks = runs[0]["tasks"]
    values = [[run["tasks"][task][metric] for run in runs] for task in tasks]
    return [*values, [statistics.fmean(row) for row in zip(*values, strict=True)]]


def table(results: dict[str, list[dict[str, Any]]], metric: str) -> Iterator[str]:
    """A line for each model: the metric of each task, mean ± standard deviation over seeds."""
    rows = ([name, *map(_spread, columns(runs, metric))] for name, runs in results.items())
    return lab.table([metric.upper(), *results["home"][0]["tasks"], "mean"], rows)


def differences(results: dict[str, list[dict[str, Any]]], metric: str) -> Iterator[str]:
    """A line for each other model: the metric less that of HoME with the same seed, in thousandths.

    Bold is what Student's t for pairs calls different from 0 at 95 %.
    """
    base, rows = columns(results["home"], metric), []
    for name, runs in results.items():
        if name != "home":
            pairs = zip(columns(runs, metric), base, strict=True)
            cells = [_difference([a - b for a, b in zip(x, y, strict=True)]) for x, y in pairs]
            rows.append([name, *cells])
    title = f"{metric.upper()} - HoME's, in .001"
    return lab.table([title, *results["home"][0]["tasks"], "mean"], rows)


def scale(results: dict[str, list[dict[str, Any]]], metric: str) -> Iterator[str]:
    """HoME beside gradient boosting and its floors."""
    runs = results["home"]
    tasks = [task for task in DENSE if task in runs[0]["tasks"]]
    found = dict(zip(runs[0]["tasks"], columns(runs, metric), strict=False))
    trees = dict(zip(DENSE, BOOSTING[metric], strict=True))
    above = [f"{1000 * (statistics.fmean(found[task]) - trees[task]):+.1f}" for task in tasks]
    rows = [
        ["home", *(_spread(found[task]) for task in tasks)],
        ["gradient boosting", *(f"{trees[task]:.4f}" for task in tasks)],
        ["home - boosting, in .001", *above],
    ]
    if metric == "auc":
        rows.append(["floor", *(f"{FLOORS[t]:.3f}" if t in FLOORS else "–" for t in tasks)])
    return lab.table([metric.upper(), *tasks], rows)


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.4f} ± {deviation:.4f}"


def _difference(values: list[float]) -> str:
    mean, count = statistics.fmean(values), len(values)
    if count not in STUDENT:
        return f"{1000 * mean:+.1f}"
    deviation = statistics.stdev(values)
    text = f"{1000 * mean:+.1f} ± {1000 * deviation:.1f}"
    beyond = abs(mean) > STUDENT[count] * deviation / math.sqrt(count)
    return f"**{text}**" if beyond else text


def blocks(
    results: dict[str, list[dict[str, Any]]], widths: dict[str, int]
) -> dict[str, list[str]]:
    """The tables of the pages, by the names of their places."""
    seeds = min(map(len, results.values()))
    some = next(iter(results.values()))[0]
    sizes = ([n, str(widths[n]), f"{runs[0]['parameters']:,}"] for n, runs in results.items())
    setting = (
        f"{seeds} seeds each; {some['rows_train']:,} rows to train on, {some['rows_valid']:,}"
        f" held out; flags: `{' '.join(FLAGS)}`."
    )
    return {
        "auc": [setting, "", *table(results, "auc")],
        "boosting": [*scale(results, "auc"), "", *scale(results, "gauc")],
        "gauc": [*table(results, "gauc")],
        "differences": [*differences(results, "auc"), "", *differences(results, "gauc")],
        "sizes": [*lab.table(["model", "hidden width of the experts", "parameters"], sizes)],
    }


def main() -> None:
    """Train what is missing, then write the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/kuairand-results"))
    given = parser.parse_args()
    budget = parameters(MODELS["home"])
    names = [name for name in MODELS if name == "home" or name in given.models]  # all need HoME
    widths = {name: fitting_width(MODELS[name], budget) for name in names}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for seed in range(given.seeds):  # all models with one seed first: a table as soon as possible
        for name in names:
            print(f"{name}, seed {seed}", flush=True)
            case = replace(MODELS[name], changes=(hidden(widths[name]),))
            results[name].append(run(case, seed, given.data, given.out))
        made = blocks(results, widths)
        write_texts({page: lab.filled(page, made) for page in PAGES})


if __name__ == "__main__":
    main()
