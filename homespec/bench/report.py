"""Benchmark: prints the result as tables or as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from homespec.bench.measurements import REFERENCES, Case, Facts, Result
from homespec.bench.serving import CALLS
from homespec.bench.timing import Spread, tail
from homespec.installation import install_command

MEASURES = {
    "step": "training step: forward, loss, backward, fused Adam, zero_grad",
    "forward": "forward and loss in training mode, without gradients",
    "inference": "forward in eval mode, features by name; ours with batch norm folded",
}

MIN_WIDTH = 150
"""Width of the tables, wide enough for all numbers."""

NONE = "–"
"""The text of an empty cell."""

NOTES = (
    "Medians over rounds, each of which runs every variant once; quartiles in parentheses.",
    "×: speed-up over that reference, as the median ratio over rounds.",
    "Operations are those of aten, without views; kernels are those of compiled code, including "
    "aten's.",
    "Both cover forward and backward. Peak memory is the increase over the start of a step.",
)
NOTES_INFERENCE = (
    f"Medians over the calls, {CALLS} of each variant in a round; quartiles in parentheses.",
    "×: speed-up over that reference, as the median ratio over calls.",
    "p99: 99 of 100 calls took no longer. MB: size of the file, and of its weights.",
)


def show(result: Result) -> None:
    """Print header, tables and notes."""
    console = Console(highlight=False, width=max(MIN_WIDTH, Console().width))
    console.print("\n".join(header(result)), markup=False)
    for case in result.cases:
        for measure in case.times:
            console.print()
            console.print(_title(case, measure), markup=False)
            console.print(table(case.times[measure], _columns(case, measure)))
            for name, facts in case.facts.items():
                if facts.missing:
                    needs = (
                        f"{name} needs the extra {facts.missing}: {install_command(facts.missing)}"
                    )
                    console.print(needs, markup=False)
    console.print()
    notes = NOTES_INFERENCE if result.settings.inference else NOTES
    if not result.complete:
        notes = (*notes, "Interrupted. These measurements were complete.")
    console.print("\n".join(notes), markup=False)


def _title(case: Case, measure: str) -> str:
    size = f"{case.tasks} tasks, {case.precision}, {case.parameters:,} parameters"
    if measure == "inference":
        return f"{size}; batch {case.batch}, threads {case.threads}; {MEASURES[measure]}"
    return f"{size}, {case.flops / 1e9:.1f} GFLOP a step, {MEASURES[measure]}"


def header(result: Result) -> Iterator[str]:
    """What was measured, with which versions and settings."""
    settings, machine = result.settings, result.machine
    batches = ", ".join(map(str, settings.batches))
    yield f"{result.spec} ({result.file}), batch {batches}, seed {result.seed}"
    yield f"{result.place}; torch {machine['torch']}, Python {machine['python']}"
    if settings.device == "cpu":
        kept = "is kept for reuse" if result.keeps_freed_memory else "is returned to the system"
        yield f"{settings.rounds} rounds; freed memory {kept}, in all variants"
    else:
        yield f"{settings.rounds} rounds, timed by CUDA events"


def table(names: Iterable[str], columns: Iterable[tuple[str, list[str]]]) -> Table:
    """A line for each name, with the columns that are not empty."""
    filled = {title: cells for title, cells in columns if any(cell != NONE for cell in cells)}
    made = Table(box=box.SIMPLE_HEAD)
    made.add_column("variant", no_wrap=True)
    for title in filled:
        made.add_column(title, justify="right", no_wrap=True)
    for name, *cells in zip(names, *filled.values(), strict=True):
        made.add_row(name, *cells)
    return made


def _columns(case: Case, measure: str) -> Iterator[tuple[str, list[str]]]:
    """Each column's title and its cells, one for each variant."""
    variants = list(case.times[measure])
    yield "ms", [shown(spread) for spread in case.spreads(measure).values()]
    if measure == "inference":
        yield "min", [f"{min(taken):.2f}" for taken in case.times[measure].values()]
        yield "p99", [f"{tail(taken):.2f}" for taken in case.times[measure].values()]
    for reference in REFERENCES:
        faster = case.ratios(measure, reference)
        cells = [f"{faster[n].median:.2f}" if faster and n != reference else NONE for n in variants]
        yield f"× {reference}", cells
    facts = [case.facts.get(name, Facts()) for name in variants]
    if measure != "step":
        yield "operations", [number(f.forward_operations) for f in facts]
        yield "load s", [number(f.load, digits=2) for f in facts]
        yield "MB", [number(f.file, 1e6, 1) for f in facts]
        yield "weights MB", [number(f.weights, 1e6, 1) for f in facts]
        return
    yield "operations", [number(f.operations) for f in facts]
    yield "kernels", [number(f.kernels) for f in facts]
    yield "peak MB", [number(f.peak, 1e6, 1) for f in facts]
    for cache in ("cold", "warm"):
        seconds = [f.compiling.get(cache) for f in facts]
        yield f"{cache} s", [number(s.wall if s else None, digits=1) for s in seconds]


def shown(spread: Spread) -> str:
    """A median with its quartiles."""
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})"


def number(value: float | None, unit: float = 1, digits: int = 0) -> str:
    """A number in this unit, or NONE."""
    return NONE if value is None else f"{value / unit:,.{digits}f}"


def to_json(result: Result) -> str:
    """All results, including the times of every round."""
    data = dataclasses.asdict(result)
    for case, written in zip(result.cases, data["cases"], strict=True):
        written["p99"] = {m: {n: tail(t) for n, t in of.items()} for m, of in case.times.items()}
        written["milliseconds"] = _asdicts({m: case.spreads(m) for m in case.times})
        written["times_as_fast"] = _asdicts(
            {m: {r: case.ratios(m, r) for r in REFERENCES} for m in case.times}
        )
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _asdicts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _asdicts(part) for key, part in value.items()}
    return dataclasses.asdict(value)
