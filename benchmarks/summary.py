"""The tables of docs/performance.md: a line for each measurement of benchmarks/results."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import lab

from homespec.bench import report
from homespec.bench.timing import ratios

SMALL, LARGE, SERVING = "training-small", "training-large", "serving"
"""Pages of docs/performance/, which have all numbers."""


class Line(NamedTuple):
    """A measurement: its name and page, and the case of a result that it is."""

    what: str
    page: str
    file: str
    case: dict[str, int]
    """Keys of a case and their values, where a result has several cases."""
    measure: str = "step"
    variant: str = "ours-compiled"


def _served(batch: int) -> Line:
    what = f"inference, small, 32 tasks, {batch} {'row' if batch == 1 else 'rows'}"
    return Line(what, f"{SERVING}.md#inference-32-tasks", f"inference-{batch}", {}, "inference")


def _packaged(batch: int) -> Line:
    what = f"`model.pt2`, small, 32 tasks, {batch} {'row' if batch == 1 else 'rows'}"
    case, variant = {"batch": batch, "threads": 1}, "ours-aotinductor"
    return Line(what, f"{SERVING}.md#serving", "serving-small", case, "inference", variant)


LINES = (
    *(
        Line(f"training step, small, {tasks} tasks", f"{SMALL}.md", "small", {"tasks": tasks})
        for tasks in (4, 16, 64)
    ),
    Line("the same, 16 tasks, bf16", f"{SMALL}.md", "small16-bf16", {}),
    Line("training step, public, 6 tasks", f"{LARGE}.md", "public", {}),
    Line("the same, bf16", f"{LARGE}.md", "public-bf16", {}),
    Line("training step, industrial, 24 tasks", f"{LARGE}.md", "industrial", {}),
    Line("the same, bf16", f"{LARGE}.md", "industrial-bf16", {}),
    Line("training step, nested groups, 9 tasks", f"{LARGE}.md", "nested", {}),
    Line("training step, KuaiRand, 10 tasks", f"{LARGE}.md", "kuairand", {}),
    *map(_served, (1, 64, 1024)),
    *map(_packaged, (1, 64)),
)
FAMILIES = {"mmoe": "MMoE", "ple": "PLE"}
PEERS = {"torch-rechub": "torch-rechub", "deepctr-torch": "DeepCTR-Torch"}


def lines() -> tuple[list[str], list[list[str]]]:
    """A line for each measurement, as how many times as fast as plain code, with quartiles."""
    head = ["measured", "batch", "× plain code", "× plain code, compiled"]
    return [*head, "products alone, × plain code", "processor"], [*map(_line, LINES)]


def _line(line: Line) -> list[str]:
    result = _result(line.file)
    case = next(c for c in result["cases"] if all(c[k] == v for k, v in line.case.items()))
    faster = case["times_as_fast"][line.measure]
    batch = case.get("batch") or lab.batches(result["settings"])
    cells = [_shown(faster[plain].get(line.variant)) for plain in ("naive", "naive-compiled")]
    floor = _shown(faster["naive"].get("floor"))
    cpu = result["machine"]["cpu"].replace("(R)", "").removesuffix(" Processor")
    return [f"[{line.what}](performance/{line.page})", str(batch), *cells, floor, cpu]


def libraries() -> tuple[list[str], list[list[str]]]:
    """A line for each model of other libraries: how many times as fast ours is, both compiled."""
    head = [f"× {name}{how}" for name in PEERS.values() for how in ("", ", compiled")]
    rows, result = [], _result("peers")
    for measured in result["cases"]:
        case, times = measured["case"], measured["times"]
        others = [f"{name}{how}" for name in PEERS for how in ("", "-compiled")]
        faster = [ratios({"it": times[n], "ours": times["ours-compiled"]}, "it") for n in others]
        model = f"[{FAMILIES[case['family']]}](performance/libraries.md)"
        size = [str(len(case["tasks"])), str(result["batch"])]
        rows.append([model, *size, *(report.shown(f["ours"]) for f in faster)])
    return ["training step of", "tasks", "batch", *head], rows


def _result(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lab.RESULTS / f"{file}.json").read_text(encoding="utf-8"))
    return found


def _shown(spread: dict[str, float] | None) -> str:
    return lab.shown(spread) if spread else report.NONE
