"""The anomalies of multi-gate experts on KuaiRand: which appear, how strongly, what cures them.

    python -m examples.kuairand.prepare FOLDER_OF_THE_CSV_FILES .cache/kuairand --log-days
    python benchmarks/anomalies.py .cache/kuairand [--seeds N] [--side-seeds N] [--out FOLDER]

Trains the models of CASES and looks at each twice as `homespec doctor` does: before the first step
and after the last one. Keeps the measures in benchmarks/results/anomalies.json, draws
docs/plots/anomalies-*.svg and writes the tables of docs/anomalies-*.md. Existing runs, also
those of benchmarks/kuairand.py, are not run again. Without a folder it draws and
writes from the measures that were kept.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import anomaly_page
import kuairand
import lab
import torch
from kuairand import FLAGS, MODELS, Case

import homespec
from homespec import api
from homespec.atomic_write import write_texts
from homespec.data.dataset import BatchDataset
from homespec.data.splits import open_splits
from homespec.doctor.examine import Options, examine
from homespec.doctor.held_out import HeldOut
from homespec.health import compare
from homespec.health.check import check
from homespec.health.measures import Health, Task
from homespec.train.lit_module import RankingModule
from homespec.train.load_run import Run
from homespec.train.settings import Settings

Json = dict[str, Any]

ROWS = 12_288
"""Held-out rows that are looked at."""
SAMPLE = 2_048
"""The ones on which knock-outs and similarities are measured."""
STATISTICS = 40
"""Batches of 256 rows by which an untrained model's batch norms get their statistics."""
FILE = lab.RESULTS / "anomalies.json"
AS_HOME = ("experts.norm=batch", "experts.activation=swish")
PUBLISHED = ("mmoe", "cgc", "ple")


def _case(name: str, model: str, *changes: str, flags: tuple[str, ...] = ()) -> Case:
    return replace(MODELS[model], name=name, changes=changes, flags=(*FLAGS, *flags))


def main_cases() -> list[Case]:
    """Those that are trained with all seeds, at equal parameters."""
    cases = [_case(f"{name}_torch", name, "init=torch") for name in PUBLISHED]
    cases += [MODELS[name] for name in PUBLISHED]
    cases += [_case(f"{name}_home_experts", name, *AS_HOME) for name in PUBLISHED]
    cases += [MODELS["home"]]
    cases += [MODELS[name] for name in kuairand.ABLATIONS]
    return [*cases, _case("home_relu", "home", "experts.norm=none", "experts.activation=relu")]


HARDER = {
    "lr_4": ("--lr", "1e-2"),
    "lr_16": ("--lr", "4e-2"),
    "epochs_4": ("--epochs", "4"),
}
"""Flags with which collapse is expected, by the end of a case's name."""
SIDE = ("ple", "home")
"""The models that are trained with them."""


def side_cases(widths: dict[str, int]) -> list[Case]:
    """Longer and faster training, deeper and wider experts; the latter have more parameters."""
    cases = []
    for name in SIDE:
        width = widths[name]
        of_width = kuairand.hidden(width)
        cases += [
            _case(f"{name}_{end}", name, of_width, flags=flags) for end, flags in HARDER.items()
        ]
        cases.append(_case(f"{name}_deep", name, kuairand.hidden(width, 4)))
        cases.append(_case(f"{name}_wide", name, kuairand.hidden(2 * width), "experts.width=128"))
    cured = _case("ple_home_experts_lr_16", "ple", *AS_HOME, flags=HARDER["lr_16"])
    return [*cases, cured.fitted(kuairand.parameters(MODELS["home"]))]


# ---------------------------------------------------------------- what is measured


def measures(run: Run, health: Health) -> Json:
    """The numbers of a model that are kept; docs/doctor.md has their formulas."""
    experts, gates = health.experts, [gate for gate in health.gates if len(gate.experts) > 1]
    several = [expert for expert in experts if len(expert.uses) > 1 and expert.role != "task"]
    return {
        "zeros": [_short(expert.zeros) for expert in experts],
        "near_zeros": [_short(expert.near_zeros) for expert in experts],
        "dead_channels": [_short(expert.dead_channels) for expert in experts],
        "mean_abs": [_short(expert.mean_abs) for expert in experts],
        "similarity": [_short(e.similarity) for e in experts if not math.isnan(e.similarity)],
        "owned": [_short(e.most_used.share) for e in several if e.most_used],
        "evenness": [_short(expert.evenness) for expert in several],
        "scale_ratio": _short(max(gate.scale_ratio for gate in gates)) if gates else None,
        "perplexity": _mean(gate.perplexity for gate in gates),
        "spread": _mean(math.sqrt(gate.variance_rows) for gate in gates),
        "tasks": {task.name: _of_task(health, task) for task in health.tasks},
        "findings": Counter(found.rule.name for found in check(run.spec.analysis, health)),
    }


def _of_task(health: Health, task: Task) -> Json:
    own = {s.set for gate in health.gates for s in gate.sources if s.owner == task.name}
    without = [
        effect.by(task.loss).change
        for knockout in health.knockouts
        for effect in knockout.effects
        if knockout.kind == "without_set" and knockout.target in own and effect.task == task.name
    ]
    return {
        "auc": _short(task.metrics.get("auc", task.auc)),
        "gauc": _short(task.metrics.get("gauc", math.nan)),
        "rate": _short(task.positives / task.rows),
        "own_weight": _short(compare.own_weight(health, task.name)),
        "own_contribution": _short(compare.own_contribution(health, task.name)),
        "own_gradient": _short(_ratio(task.gradients.own, task.gradients.shared)),
        "without_own": _short(max(without, default=math.nan)),
    }


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.nan


def _short(value: float) -> float | None:
    """Four digits; NaN is null in JSON."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _mean(values: Iterable[float]) -> float | None:
    return _short(statistics.fmean([*values, math.nan][:-1] or [math.nan]))


def untrained(case: Case, seed: int, data: Path) -> Run:
    """A model as a run of the seed begins with it.

    Batch norms have the statistics of rows to train on: in eval mode they would do nothing
    otherwise, and nothing that is measured would be as it is in the first step.
    """
    spec = case.loaded()
    first = RankingModule(spec, Settings(seed=seed))
    code, model = api.build_with_module(spec, optimize=False)
    code.load_logical_state(model, first.code.logical_state(first.model))
    given, _ = open_splits([data])
    with torch.no_grad():
        for batch in islice(BatchDataset(spec, given, 256, training=False), STATISTICS):
            model.train()(batch.features)
    return Run(Path("untrained"), spec, code, model.eval(), {})


def examined(case: Case, seed: int, data: Path, out: Path) -> Json:
    """The measures of a case before and after training, from its file if they were kept."""
    kuairand.run(case, seed, data, out)
    folder = out / f"{case.name}-{seed}"
    file = folder / "anomalies.json"
    asked = (folder / "asked.json").read_text(encoding="utf-8")
    kept: Json = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if kept.get("asked") != asked:
        trained = homespec.load_run(folder, optimize=False)
        rows = HeldOut.open(trained.spec, [data], ROWS)
        both = {"start": untrained(case, seed, data), "trained": trained}
        kept = {when: measures(run, examine(run, rows, OPTIONS)) for when, run in both.items()}
        kept |= {"parameters": trained.metrics["parameters"], "asked": asked}
        write_texts({file: json.dumps(kept) + "\n"})
    return {name: value for name, value in kept.items() if name != "asked"}


OPTIONS = Options(SAMPLE)


# ---------------------------------------------------------------- all of it


def jobs(seeds: int, side_seeds: int) -> Iterator[tuple[Case, int]]:
    """All runs, those of the first seed first: something of everything as soon as possible."""
    budget = kuairand.parameters(MODELS["home"])
    main = [case.fitted(budget) for case in main_cases()]
    widths = {name: kuairand.fitting_width(MODELS[name], budget) for name in SIDE}
    side = side_cases(widths)
    for seed in range(max(seeds, side_seeds)):
        yield from ((case, seed) for case in main if seed < seeds)
        yield from ((case, seed) for case in side if seed < side_seeds)


def main() -> None:
    """Train and examine what is missing, then draw and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--side-seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/kuairand-results"))
    given = parser.parse_args()
    found: dict[str, list[Json]] = {}
    if given.data is None:
        found = json.loads(FILE.read_text(encoding="utf-8"))["cases"]
    else:
        for case, seed in jobs(given.seeds, given.side_seeds):
            print(f"{case.name}, seed {seed}", flush=True)
            found.setdefault(case.name, []).append(examined(case, seed, given.data, given.out))
        lab.write(FILE, rows=ROWS, sample=SAMPLE, cases=found)
    anomaly_page.write(found)


if __name__ == "__main__":
    main()
