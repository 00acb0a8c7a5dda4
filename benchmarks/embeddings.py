"""Look-ups of many features: merged tables, as generated, beside one nn.Embedding for each feature.

    python benchmarks/embeddings.py --rows 1000,50000

40 hashed ids (`--features`) of the widths `--dims` in turn. Both are generated from one spec, with
and without optimisation, and have the same weights. Each is measured eager and compiled; all in
one process and in turns. Ratios are taken within rounds: how many times as fast as one nn.Embedding
for each feature, eager by eager and compiled by compiled. A training step is forward, the sum of v
times a constant, backward and fused Adam with dense gradients.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

import homespec
from homespec.atomic_write import write_texts
from homespec.bench.allocator import keep_freed_memory
from homespec.bench.counting import external_kernels, generated_kernels, operations
from homespec.bench.machine import machine
from homespec.bench.random_batch import random_features
from homespec.bench.step import Candidate
from homespec.bench.timing import Action, interleaved, ratios, spread

FORMS = {"each": False, "merged": True}
"""Whether the code is optimised."""
MODES = {"eager": None, "compiled": "default"}
MEASURES: dict[str, Callable[[Candidate], Action]] = {
    "forward": lambda candidate: candidate.forward,
    "forward and backward": lambda candidate: (
        lambda: (
            candidate.backward(),
            candidate.optimizer.zero_grad(),
        )
    ),
    "training step": lambda candidate: candidate.step,
}


def spec_of(features: int, rows: int, dims: list[int]) -> homespec.LoadedSpec:
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


def candidates(spec: homespec.LoadedSpec, batch: int) -> dict[str, Candidate]:
    """By `FORM MODE`: the generated Features with the same weights and the same batch."""
    torch.manual_seed(0)
    features = random_features(spec, batch, "cpu")
    plain = homespec.build(spec, optimize=False)
    weights = homespec.build_module(spec, optimize=False).logical_state(plain)
    found = {}
    for form, optimize in FORMS.items():
        code = homespec.build_module(spec, optimize=optimize)
        for mode, how in MODES.items():
            model = homespec.build(spec, optimize=optimize)
            code.load_logical_state(model, weights)
            module = model.get_submodule("features")
            weight_BV = torch.randn(
                module(features).shape, generator=torch.Generator().manual_seed(1)
            )
            found[f"{form} {mode}"] = Candidate(
                module, _loss(module), features, weight_BV, "cpu", mode=how
            )
    return found


def _loss(module: torch.nn.Module) -> Callable[[Any, Any], Tensor]:
    def loss_of(features: dict[str, Tensor], weight_BV: Tensor) -> Tensor:
        return (module(features) * weight_BV).sum()

    return loss_of


def check_equal(found: dict[str, Candidate]) -> None:
    """Stop if the variants compute different losses or gradients."""
    sizes = {}
    for name, candidate in found.items():
        loss = candidate.backward().item()
        grads = [p.grad for p in candidate.model.parameters() if p.grad is not None]
        squares = sum(float((grad.double() ** 2).sum()) for grad in grads)
        sizes[name] = torch.tensor([loss, squares])
        candidate.optimizer.zero_grad()
    first = next(iter(sizes.values()))
    for name, each in sizes.items():
        torch.testing.assert_close(
            each, first, rtol=1e-4, atol=1e-2, msg=f"{name}: {each}, {first}"
        )


def counts(candidate: Candidate, compiled: bool) -> dict[str, int]:
    """Operations of forward and backward; compiled, kernels that were generated and called."""
    before = generated_kernels()
    action = MEASURES["forward and backward"](candidate)
    if not compiled:
        return {"operations": operations(action)}
    action()
    generated = generated_kernels() - before
    return {"generated": generated, "called": external_kernels(action)}


def measured(features: int, rows: int, dims: list[int], batch: int, rounds: int) -> dict[str, Any]:
    """One case: counts, milliseconds and ratios."""
    found = candidates(spec_of(features, rows, dims), batch)
    facts = {name: counts(t, "compiled" in name) for name, t in found.items()}
    check_equal(found)
    case: dict[str, Any] = {"rows": rows, "batch": batch, "counts": facts, "measures": {}}
    for measure, action in MEASURES.items():
        times = interleaved({n: action(t) for n, t in found.items()}, rounds, "cpu")
        faster = {mode: ratios(times, f"each {mode}")[f"merged {mode}"] for mode in MODES}
        case["measures"][measure] = {
            "milliseconds": {name: asdict(spread(values)) for name, values in times.items()},
            "times_as_fast": {mode: asdict(each) for mode, each in faster.items()},
        }
    return case


def table(result: dict[str, Any]) -> Iterator[str]:
    """The result in Markdown."""
    yield "| rows of a table | batch | | one for each, eager | merged, eager | × as fast | one for each, compiled | merged, compiled | × as fast |"  # noqa: E501
    yield "|---:|---:|---|---:|---:|---:|---:|---:|---:|"
    for case in result["cases"]:
        for measure, found in case["measures"].items():
            cells = [f"{case['rows']:,}", f"{case['batch']:,}", measure]
            for mode in MODES:
                cells += [
                    f"{found['milliseconds'][f'{form} {mode}']['median']:.2f} ms" for form in FORMS
                ]
                faster = found["times_as_fast"][mode]
                cells.append(f"{faster['median']:.2f} ({faster['low']:.2f}–{faster['high']:.2f})")
            yield f"| {' | '.join(cells)} |"


@click.command()
@click.option("--features", default=40, show_default=True)
@click.option("--dims", default="4,8,16", show_default=True)
@click.option("--rows", default="1000,50000", show_default=True)
@click.option("--batches", default="1024", show_default=True)
@click.option("--rounds", default=40, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write all numbers here.")
def main(features: int, dims: str, rows: str, batches: str, rounds: int, path: Path | None) -> None:
    """Measure and print a table."""
    keep_freed_memory()
    widths = [int(d) for d in dims.split(",")]
    about = {"features": features, "dims": widths, "rounds": rounds}
    result: dict[str, Any] = {"machine": machine("cpu"), **about, "cases": []}
    for batch in (int(b) for b in batches.split(",")):
        for length in (int(r) for r in rows.split(",")):
            torch.compiler.reset()
            case = measured(features, length, widths, batch, rounds)
            click.echo(f"{length} rows, batch {batch}: {case['counts']}")
            result["cases"].append(case)
            if path:
                write_texts({path: json.dumps(result, indent=1) + "\n"})
    click.echo("\n".join(table(result)))


if __name__ == "__main__":
    main()
