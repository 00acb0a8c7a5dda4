"""One request with one user and many candidates: packages with and without --user-features.

    pip install '.[export]'
    python benchmarks/user_features.py --json benchmarks/results/user-features.json

Each family is compiled twice, as `homespec export` compiles it: for rows that repeat the user's
features, and for features of the user in one row. Outputs are compared, then both packages are
called in turns in one process. Times are of the processor, and weights are random. `--packages
FOLDER` keeps the packages there and uses existing ones, so that compiling, which takes some
minutes, can be done before.
`python benchmarks/tables.py` makes the table of docs/performance/serving.md of the result.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lab
import torch
from rich.console import Console
from torch import Tensor

import homespec
from homespec.api import LoadedSpec
from homespec.bench import report
from homespec.bench.exported import Exported, Server
from homespec.bench.machine import keep_freed_memory
from homespec.bench.measurements import Facts
from homespec.bench.random_batch import random_features
from homespec.bench.timing import WARM_UP, Action, Times, no_garbage_collection, ratios, spread
from homespec.export.aotinductor import Loader
from homespec.export.files import PT2
from homespec.graph.feature_nodes import SplitInput
from homespec.passes import optimise
from homespec.variant import variant

SPECS = lab.SPECS.parent.parent / "specs"
WITHOUT_HISTORY = ("features.history=null",)
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "MMoE": ("families/mmoe.yaml", ()),
    "MMoE, no history": ("families/mmoe.yaml", WITHOUT_HISTORY),
    "PLE": ("families/ple.yaml", ()),
    "PLE, no history": ("families/ple.yaml", WITHOUT_HISTORY),
    "HoME": ("kuairand.yaml", ()),
}
OF_USER = re.compile(r"(user|onehot|follow|fans|friend|register)_?\w*|is_\w+|tab|hour|history")
"""The features of specs/kuairand.yaml that a request has once: the user's, and where and when."""
SEED = 0
TOLERANCE = 1e-5
WHOLE, SPLIT = "rows", "user"


def of_user(spec: LoadedSpec) -> tuple[str, ...]:
    """The user's features of a spec."""
    return tuple(name for name in spec.features if OF_USER.fullmatch(name))


def columns(spec: LoadedSpec) -> tuple[int, int]:
    """The number of the user's columns of v, and of all its columns."""
    wanted = variant(mode="inference", user_features=of_user(spec))
    (split,) = optimise(spec.analysis.graph, wanted).of(SplitInput)
    return split.user, split.width


def servers(spec: LoadedSpec, folder: Path) -> dict[str, Server]:
    """Both packages of a spec, loaded; those that are in the folder are not compiled again."""
    torch.manual_seed(SEED)
    code, model = homespec.build_with_module(spec)
    weights = code.logical_state(model)
    found: dict[str, Server] = {}
    for name, user in ((WHOLE, ()), (SPLIT, of_user(spec))):
        own = folder / name
        own.mkdir(parents=True, exist_ok=True)
        if not (own / PT2).exists():
            Exported(spec, weights, own, "cpu", user).load("aotinductor", Facts())
        found[name] = _called(Loader(own / PT2))
    return found


def _called(score: Loader) -> Server:
    return lambda features: lambda: score(features)


def requests(spec: LoadedSpec, rows: int) -> dict[str, dict[str, Tensor]]:
    """The features of one request, as either package takes them."""
    torch.manual_seed(SEED)
    features, user = random_features(spec, rows, "cpu"), set(of_user(spec))
    once = {
        name: tensor[:1].contiguous() if name.partition(".")[0] in user else tensor
        for name, tensor in features.items()
    }
    whole = {n: t.expand(rows, *t.shape[1:]).contiguous() for n, t in once.items()}
    return {WHOLE: whole, SPLIT: once}


def measure(spec: LoadedSpec, loaded: dict[str, Server], rows: int, rounds: int) -> Times:
    """Milliseconds of every call by package. Exits where outputs differ."""
    features = requests(spec, rows)
    actions = {name: server(features[name]) for name, server in loaded.items()}
    whole, split = (actions[name]() for name in (WHOLE, SPLIT))
    apart = max(float((whole[task] - split[task]).abs().max()) for task in whole)
    if not apart <= TOLERANCE:
        raise SystemExit(f"the outputs are {apart:.1e} apart")
    return cpu_times(actions, rounds)


def cpu_times(actions: Mapping[str, Action], rounds: int) -> Times:
    """Milliseconds of CPU time of every call, in turns; other programs change it little."""
    times: Times = {name: [] for name in actions}
    with no_garbage_collection():
        for turn in range(WARM_UP + rounds):
            for name in sorted(actions, reverse=bool(turn % 2)):
                started = time.process_time()
                actions[name]()
                times[name].append((time.process_time() - started) * 1e3)
    return {name: taken[WARM_UP:] for name, taken in times.items()}


def main() -> None:
    """Measure all cases and print a table."""
    parser = lab.parser(__doc__)
    parser.add_argument("--candidates", type=lab.integers, default=[50, 500])
    parser.add_argument("--threads", type=lab.integers, default=[1])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--cases", default=list(CASES), type=lambda text: text.split(";"))
    parser.add_argument("--packages", type=Path)
    given = parser.parse_args()
    keep_freed_memory()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="homespec-user-") as temporary, torch.no_grad():
        for name in given.cases:
            path, overrides = CASES[name]
            spec = homespec.load(SPECS / path, overrides)
            folder = (given.packages or Path(temporary)) / re.sub(r"\W+", "-", name)
            user, width = columns(spec)
            for threads in given.threads:
                torch.set_num_threads(threads)
                loaded = servers(spec, folder)
                for rows in given.candidates:
                    times = measure(spec, loaded, rows, given.rounds)
                    sizes = {"threads": threads, "candidates": rows, "user": user, "width": width}
                    found.append({"case": name, **sizes, "times": lab.rounded(times)})
    _show(found)
    settings = {"threads": given.threads, "candidates": given.candidates, "rounds": given.rounds}
    lab.write(given.json, settings=settings, seed=SEED, cases=found)


def _show(found: list[dict[str, Any]]) -> None:
    console = Console()
    for case in found:
        times = case["times"]
        faster = report.shown(ratios(times, WHOLE)[SPLIT])
        taken = ", ".join(f"{name} {report.shown(spread(of))} ms" for name, of in times.items())
        console.print(f"{case['case']}, {case['candidates']} candidates: {faster} × ({taken})")


if __name__ == "__main__":
    main()
