"""Write the tables of docs/performance.md and docs/performance/ from benchmarks/results/*.json.

    python benchmarks/tables.py [--check]

The files are what `homespec bench --json` and `benchmarks/peers.py --json` wrote; see the pages.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import lab
import summary

from homespec.atomic_write import holds, write_texts
from homespec.bench import report
from homespec.bench.timing import ratios

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [DOCS / "performance.md", *sorted((DOCS / "performance").glob("*.md"))]
BLOCK = re.compile(r"(<!-- results: ([\w-]+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""The names of a file and of what it measured: step, forward, inference or a name of MEASURES.

The tables of `all` are of several files, by a name of SUMMARIES.
"""

REFERENCES = {"naive": "naive", "naive-compiled": "naive compiled", "floor": "floor"}


Table = tuple[list[str], list[list[str]]]
"""The titles of the columns, and the rows."""


def variants(result: dict[str, Any], measure: str) -> Table:
    """A line for each variant of each case; ratios are how many times as fast, with quartiles."""
    cases = [case for case in result["cases"] if measure in case["milliseconds"]]
    faster = [case["times_as_fast"][measure] for case in cases]
    references = [name for name in REFERENCES if any(each[name] for each in faster)]
    facts = ("operations", "kernels", "peak MB") if measure == "step" else ()
    several = len({case["batch"] for case in cases if "batch" in case}) > 1
    rows = []
    for case, ratio in zip(cases, faster, strict=True):
        for name in case["milliseconds"][measure]:
            known = case["facts"].get(name, {})
            numbers = [report.number(known.get(fact)) for fact in facts[:2]]
            numbers += [report.number(known.get("peak"), 1e6, 1) for _ in facts[2:]]
            cells = [_ratio(ratio[reference], reference, name) for reference in references]
            batch = [str(case["batch"])] if several else []
            rows.append([str(case["tasks"]), *batch, name, *cells, *numbers])
    head = ["tasks", *(["batch"] if several else []), ""]
    return [*head, *(f"× {REFERENCES[name]}" for name in references), *facts], rows


def peers(result: dict[str, Any]) -> Table:
    """A line for each model of each case: how many times as fast ours, compiled, is."""
    head = ["ours compiled is × as fast", "operations", "peak MB", "first step, × ours"]
    rows = []
    for measured in result["cases"]:
        case, times, seconds = measured["case"], measured["times"], measured["compiling"]
        for name in times:
            ours = ratios({"ours": times["ours-compiled"], "it": times[name]}, "it")["ours"]
            cells = [
                "1" if name == "ours-compiled" else report.shown(ours),
                report.number(measured["operations"].get(name)),
                report.number(measured["peaks"].get(name), 1e6, 1),
                report.number(seconds.get(name), seconds["ours-compiled"], 2),
            ]
            rows.append([case["family"], str(len(case["tasks"])), name, *cells])
    return ["model", "tasks", "", *head], rows


def compiling(result: dict[str, Any]) -> Table:
    """A line for each variant of each case: its first step beside ours of the fewest tasks."""
    base = result["cases"][0]["facts"]["ours-compiled"]["compiling"]["cold"]["cpu"]
    rows = [
        [str(case["tasks"]), name, *(f"{took['cpu'] / base:.2f}" for took in caches.values())]
        for case in result["cases"]
        for name, caches in ((n, facts["compiling"]) for n, facts in case["facts"].items())
    ]
    return ["tasks", "", "first step, cold", "warm"], rows


def where(result: dict[str, Any]) -> Table:
    """A line for each part of a step, a column for each size; the largest in the first comes first.

    What is less than one per cent everywhere is left out.
    """
    sizes: dict[str, dict[str, float]] = result["shares"]
    parts = dict.fromkeys(part for shares in sizes.values() for part in shares)
    lines = {part: [shares.get(part, 0.0) for shares in sizes.values()] for part in parts}
    rows = [[p, *(f"{n:.0%}" for n in line)] for p, line in lines.items() if max(line) >= 0.01]
    return ["part of the step", *sizes], rows


def unequal(result: dict[str, Any]) -> Table:
    """A line for each case: how many times as fast each form is as a product for each group."""
    forms = list(dict.fromkeys(name for case in result["cases"] for name in case["ratios"]))
    forms.remove("each")
    rows = [
        [case["case"], case["precision"], *(_ratio(case["ratios"], "each", f) for f in forms)]
        for case in result["cases"]
    ]
    return ["groups that need", "", *forms], rows


def schedule(result: dict[str, Any]) -> Table:
    """A line for each variant of each size: launches and megabytes of a training step."""
    launches = ["launches", "of them products"]
    moved = ["MB of generated kernels", "MB of products", "floor MB"]
    rows = []
    for case in result["cases"]:
        size = [case["size"], str(case["tasks"]), str(case["batch"]), case["variant"]]
        counts = [case["kernels"] + case["products"], case["products"]]
        counts += [case[name] / 1e6 for name in ("kernel_bytes", "product_bytes", "floor")]
        rows.append([*size, *map(report.number, counts)])
    return ["size", "tasks", "batch", "", *launches, *moved], rows


def serving(result: dict[str, Any]) -> Table:
    """A line for each number of threads and batch: how many times as fast as plain code each way to
    serve is, and how far the slowest calls of model.pt2 are from its median.
    """
    known = [name for name in SERVED if any(name in of["times"][SERVICE] for of in result["cases"])]
    rows = []
    for case in result["cases"]:
        times, spreads = case["times"][SERVICE], case["times_as_fast"][SERVICE]["naive"]
        cells = [_ratio(spreads, "naive", name) for name in known]
        ours, other = (times.get(name) for name in (PACKAGE, "ours-onnxruntime"))
        both = ratios({"pt2": ours, "onnx": other}, "onnx")["pt2"] if ours and other else None
        slow = case["p99"][SERVICE][PACKAGE] / case["milliseconds"][SERVICE][PACKAGE]["median"]
        more = [report.shown(both) if both else report.NONE, f"{slow:.2f}"]
        rows.append([str(case["threads"]), str(case["batch"]), *cells, *more])
    titles = [SERVED[name] for name in known]
    return [
        "threads",
        "batch",
        *titles,
        "model.pt2 × model.onnx",
        "p99 / median",
    ], rows


def serving_peers(result: dict[str, Any]) -> Table:
    """A line for each model and batch: how many times as fast as each other one model.pt2 is."""
    others = [name for name in result["cases"][0]["times"] if name != PACKAGE]
    rows = []
    for case in result["cases"]:
        times = case["times"]
        faster = [ratios({"it": times[n], "ours": times[PACKAGE]}, "it")["ours"] for n in others]
        size = [case["family"], str(case["tasks"]), str(case["batch"])]
        rows.append([*size, *map(report.shown, faster)])
    return ["model", "tasks", "batch", *(SERVED.get(name, name) for name in others)], rows


def user_features(result: dict[str, Any]) -> Table:
    """A line for each model and number of candidates: how many times as fast model.pt2 is with the
    user's features in one row.
    """
    rows = []
    for case in result["cases"]:
        times = case["times"]
        faster = report.shown(ratios(times, "rows")["user"])
        columns = f"{case['user']} of {case['width']}"
        size = [case["case"], columns, str(case["threads"]), str(case["candidates"])]
        rows.append([*size, faster])
    return ["model", "columns of the user", "threads", "candidates", "× as fast"], rows


SERVICE, PACKAGE = "inference", "ours-aotinductor"
SERVED = {
    "ours": "ours, eager",
    "ours-compiled": "torch.compile",
    "ours-onnxruntime": "model.onnx",
    PACKAGE: "model.pt2",
}
"""Titles of the columns of `serving` by variant."""
MEASURES = {
    "peers": peers, "compile": compiling, "where": where, "unequal": unequal, "schedule": schedule,
    "serving": serving, "serving_peers": serving_peers,
    "user_features": user_features,
}  # fmt: skip
"""What has a table of its own; all else is times of variants."""
SUMMARIES = {"lines": summary.lines, "libraries": summary.libraries}


def _ratio(spreads: dict[str, Any], reference: str, variant: str) -> str:
    if variant not in spreads:
        return report.NONE
    return "1" if variant == reference else lab.shown(spreads[variant])


def _machine(result: dict[str, Any]) -> str:
    machine, settings = result["machine"], result.get("settings", result)
    where = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} threads"
    if settings.get("threads"):  # as many as the lines of the table say
        where = f"{machine['cpu']}, {machine['cores']} cores"
    about = [f"batch {lab.batches(settings)}"] if settings.keys() & {"batch", "batches"} else []
    if "rounds" in settings:
        about += [f"{settings['rounds']} rounds", f"seed {result['seed']}"]
    what = f" {', '.join(about)}." if about else ""
    return f"{where}; torch {machine['torch']}, Python {machine['python']};{what}".rstrip(";")


def filled(text: str) -> str:
    """The page with new blocks."""

    def block(match: re.Match[str]) -> str:
        if match[2] == "all":
            return match[1] + "\n".join(lab.table(*SUMMARIES[match[3]]())) + "\n" + match[4]
        kept = lab.RESULTS / f"{match[2]}.json"
        if not kept.exists():
            return f"{match[1]}Not measured yet.\n{match[4]}"
        result = json.loads(kept.read_text(encoding="utf-8"))
        made = MEASURES[match[3]](result) if match[3] in MEASURES else variants(result, match[3])
        lines = [_machine(result), "", *lab.table(*made), ""]
        return match[1] + "\n".join(lines) + match[4]

    return BLOCK.sub(block, text)


def main() -> int:
    """Write the pages, or with --check say whether they are fresh."""
    texts = {page: filled(page.read_text(encoding="utf-8")) for page in PAGES}
    if "--check" not in sys.argv[1:]:
        write_texts(texts)
        return 0
    stale = [str(page) for page, text in texts.items() if not holds(page, text)]
    if stale:
        print(f"stale: {', '.join(stale)}; run: python benchmarks/tables.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
