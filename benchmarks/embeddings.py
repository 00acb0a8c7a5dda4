"""Look-ups of many features: merged tables, as generated, beside one nn.Embedding for each feature.

    python benchmarks/embeddings.py --rows 1000,50000

40 hashed ids (`--features`) of the widths `--dims` in turn. Both are generated from one spec, with
and without optimisation, and have the same weights. Each is measured eager and compiled; all in
one process and in turns. Ratios are taken within rounds: how many times as fast as one nn.Embedding
for each feature, eager by eager and compiled by compiled. A training step is forward, the sum of v
times a constant, backward and fused Adam with dense gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import lab
import torch

import homespec
from homespec.bench.candidates import Candidate, check_equal, first_step
from homespec.bench.counting import external_kernels, generated_kernels, operations
from homespec.bench.machine import keep_freed_memory
from homespec.bench.random_batch import random_features
from homespec.bench.timing import Action, interleaved, ratios, spread

FORMS = {"each": False, "merged": True}
"""Whether the code is optimised."""
MODES = {"eager": None, "compiled": "default"}
MEASURES: dict[str, Callable[[Candidate], Action]] = {
    "forward": lambda candidate: candidate.forward,
    "forward and backward": lambda candidate: (
        lambda: (candidate.backward(), candidate.optimizer.zero_grad())
    ),
    "training step": lambda candidate: candidate.step,
}


def spec_of(features: int, rows: int, dims: list[int]) -> homespec.api.LoadedSpec:
    """Features of these widths in turn."""
    lines = (
        f"  f{i}: {{id: {{buckets: {rows}}}, dim: {dims[i % len(dims)]}}}\n"
        for i in range(features)
    )
    return homespec.loads(
        "homespec: 1\nname: lookups\nfamily: shared_bottom\nfeatures:\n"
        + "".join(lines)
        + "tasks: {click: {}, like: {}}\n"
    )


def candidates(spec: homespec.api.LoadedSpec, batch: int) -> dict[str, Candidate]:
    """By `FORM MODE`: the generated Features with the same weights and the same batch."""
    torch.manual_seed(0)
    features = random_features(spec, batch, "cpu")
    code, plain = homespec.build_with_module(spec, optimize=False)
    weights, weight_BV = code.logical_state(plain), torch.randn_like(plain.features(features))
    made = {}
    for form, optimize in FORMS.items():
        for mode, how in MODES.items():
            code, model = homespec.build_with_module(spec, optimize=optimize)
            code.load_logical_state(model, weights)

            def loss_of(features, weight_BV, look_up=model.features):
                return (look_up(features) * weight_BV).sum()

            made[f"{form} {mode}"] = Candidate(model, loss_of, features, weight_BV, mode=how)
    return made


def counts(candidate: Candidate) -> dict[str, int]:
    """Operations of forward and backward; compiled, kernels that were generated and called."""
    action = MEASURES["forward and backward"](candidate)
    if not candidate.mode:
        return {"operations": operations(action)}
    before = generated_kernels()
    action()
    return {"generated": generated_kernels() - before, "called": external_kernels(action)}


def measured(features: int, rows: int, dims: list[int], batch: int, rounds: int) -> dict[str, Any]:
    """One case: counts, milliseconds and ratios."""
    made = candidates(spec_of(features, rows, dims), batch)
    facts = {name: counts(candidate) for name, candidate in made.items()}
    steps = {name: first_step(candidate) for name, candidate in made.items()}
    for name, step in steps.items():
        check_equal(name, step, steps["each eager"], "float32")
    case: dict[str, Any] = {"rows": rows, "batch": batch, "counts": facts, "measures": {}}
    for measure, action in MEASURES.items():
        times = interleaved({n: action(c) for n, c in made.items()}, rounds, "cpu")
        faster = {mode: ratios(times, f"each {mode}")[f"merged {mode}"] for mode in MODES}
        case["measures"][measure] = {
            "milliseconds": {name: asdict(spread(values)) for name, values in times.items()},
            "times_as_fast": {mode: asdict(each) for mode, each in faster.items()},
        }
    return case


def table(cases: list[dict[str, Any]]) -> Iterator[str]:
    """The result in Markdown."""
    names = ("one for each, {}", "merged, {}", "× as fast")
    rows = []
    for case in cases:
        for measure, numbers in case["measures"].items():
            cells = [f"{case['rows']:,}", f"{case['batch']:,}", measure]
            for mode in MODES:
                medians = [numbers["milliseconds"][f"{form} {mode}"]["median"] for form in FORMS]
                cells += [f"{median:.2f} ms" for median in medians]
                cells.append(lab.shown(numbers["times_as_fast"][mode]))
            rows.append(cells)
    columns = [name.format(mode) for mode in MODES for name in names]
    return lab.table(["rows of a table", "batch", "", *columns], rows)


def main() -> None:
    """Measure and print a table."""
    parser = lab.parser(__doc__)
    parser.add_argument("--features", type=int, default=40)
    parser.add_argument("--dims", type=lab.integers, default=[4, 8, 16])
    parser.add_argument("--rows", type=lab.integers, default=[1000, 50000])
    parser.add_argument("--batches", type=lab.integers, default=[1024])
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    keep_freed_memory()
    cases: list[dict[str, Any]] = []
    for batch in given.batches:
        for rows in given.rows:
            torch.compiler.reset()
            cases.append(measured(given.features, rows, given.dims, batch, given.rounds))
            print(f"{rows} rows, batch {batch}: {cases[-1]['counts']}", flush=True)
            about = {"features": given.features, "dims": given.dims, "rounds": given.rounds}
            lab.write(given.json, **about, cases=cases)
    print("\n".join(table(cases)))


if __name__ == "__main__":
    main()
