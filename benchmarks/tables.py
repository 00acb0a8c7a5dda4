"""Write the tables of docs/performance.md from benchmarks/results/*.json.

    python benchmarks/tables.py [--check]

The files are what `homespec bench --json` and `benchmarks/peers.py --json` wrote; see the page.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab

from homespec.atomic_write import holds, write_texts
from homespec.bench.timing import ratios

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BLOCK = re.compile(r"(<!-- results: ([\w-]+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""The names of a file and of what it measured: step, forward, inference or a name of MEASURES."""

REFERENCES = {"naive": "naive", "naive-compiled": "naive compiled", "floor": "floor"}


def table(result: dict[str, Any], measure: str) -> Iterator[str]:
    """A line for each variant of each case; ratios are how many times as fast, with quartiles."""
    cases = [case for case in result["cases"] if measure in case["milliseconds"]]
    references = [r for r in REFERENCES if any(r in _ratios(c, measure) for c in cases)]
    columns = [f"× {REFERENCES[r]}" for r in references]
    facts = ("operations", "kernels", "peak MB") if measure == "step" else ()
    head = ["tasks", "", *columns, *facts]
    yield lab.row(head)
    yield lab.row(["---:", "---", *["---:"] * (len(head) - 2)])
    for case in cases:
        for variant in case["milliseconds"][measure]:
            ratios = [_ratio(_ratios(case, measure).get(r, {}), r, variant) for r in references]
            known = case["facts"].get(variant, {})
            yield lab.row([str(case["tasks"]), variant, *ratios, *(_fact(known, f) for f in facts)])


def peers(result: dict[str, Any]) -> Iterator[str]:
    """A line for each model of each case: how many times as fast ours, compiled, is."""
    head = ["ours compiled is × as fast", "operations", "peak MB", "first step, × ours"]
    yield lab.row(["model", "tasks", "", *head])
    yield lab.row(["---", "---:", "---", *["---:"] * len(head)])
    for measured in result["cases"]:
        case, times, compiling = measured["case"], measured["times"], measured["compiling"]
        for name in times:
            ours = ratios({"ours": times["ours-compiled"], "it": times[name]}, "it")["ours"]
            count, peak = measured["operations"].get(name), measured["peaks"].get(name)
            yield lab.row(
                [
                    case["family"],
                    str(len(case["tasks"])),
                    name,
                    "1" if name == "ours-compiled" else lab.shown(ours),
                    f"{count:,}" if count else "–",
                    f"{peak / 1e6:.1f}" if peak else "–",
                    f"{compiling[name] / compiling['ours-compiled']:.2f}"
                    if name in compiling
                    else "–",
                ]
            )


def compiling(result: dict[str, Any]) -> Iterator[str]:
    """A line for each variant of each case: its first step beside ours of the fewest tasks."""
    yield lab.row(["tasks", "", "first step, cold", "warm"])
    yield lab.row(["---:", "---", "---:", "---:"])
    base = result["cases"][0]["facts"]["ours-compiled"]["compiling"]["cold"]["cpu"]
    for case in result["cases"]:
        for variant, facts in case["facts"].items():
            took = [facts["compiling"][cache]["cpu"] / base for cache in ("cold", "warm")]
            yield lab.row([str(case["tasks"]), variant, *(f"{each:.2f}" for each in took)])


def where(result: dict[str, Any]) -> Iterator[str]:
    """A line for each part of a step, a column for each size; the largest in the first comes first.

    What is less than one per cent everywhere is left out.
    """
    shares_of_sizes: dict[str, dict[str, float]] = result["shares"]
    parts = dict.fromkeys(part for shares in shares_of_sizes.values() for part in shares)
    yield lab.row(["part of the step", *shares_of_sizes])
    yield lab.row(["---", *["---:"] * len(shares_of_sizes)])
    for part in parts:
        shares = [each.get(part, 0.0) for each in shares_of_sizes.values()]
        if max(shares) >= 0.01:
            yield lab.row([part, *(f"{share:.0%}" for share in shares)])


def unequal(result: dict[str, Any]) -> Iterator[str]:
    """A line for each case: how many times as fast each form is as a product for each group."""
    forms = list(dict.fromkeys(name for case in result["cases"] for name in case["ratios"]))
    forms.remove("each")
    yield lab.row(["groups that need", "", *forms])
    yield lab.row(["---", "---", *["---:"] * len(forms)])
    for case in result["cases"]:
        cells = [_ratio(case["ratios"], "each", form) for form in forms]
        yield lab.row([case["case"], case["precision"], *cells])


def schedule(result: dict[str, Any]) -> Iterator[str]:
    """A line for each variant of each size: launches and megabytes of a training step."""
    head = ["size", "tasks", "batch", "", "launches", "of them products", "MB of generated kernels"]
    yield lab.row([*head, "MB of products", "floor MB"])
    yield lab.row(["---", "---:", "---:", "---", *["---:"] * 5])
    for case in result["cases"]:
        size = [case["size"], str(case["tasks"]), str(case["batch"]), case["variant"]]
        launches = [case["kernels"] + case["products"], case["products"]]
        moved = [case[name] / 1e6 for name in ("kernel_bytes", "product_bytes", "floor")]
        yield lab.row([*size, *(f"{n:,}" for n in launches), *(f"{mb:,.0f}" for mb in moved)])


MEASURES = {
    "peers": peers, "compile": compiling, "where": where, "unequal": unequal, "schedule": schedule
}  # fmt: skip
"""What has a table of its own; all else is times of variants."""


def _ratios(case: dict[str, Any], measure: str) -> dict[str, Any]:
    return {r: spreads for r, spreads in case["times_as_fast"][measure].items() if spreads}


def _ratio(spreads: dict[str, Any], reference: str, variant: str) -> str:
    if variant not in spreads:
        return "–"
    return "1" if variant == reference else lab.shown(spreads[variant])


def _fact(facts: dict[str, Any], name: str) -> str:
    value = facts.get("peak" if name == "peak MB" else name)
    if value is None:
        return "–"
    return f"{value / 1e6:.1f}" if name == "peak MB" else f"{value:,}"


def _machine(result: dict[str, Any]) -> str:
    machine, settings = result["machine"], result.get("settings", result)
    where = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} threads"
    about = [f"batch {settings['batch']}"] if "batch" in settings else []
    if "rounds" in settings:
        about += [f"{settings['rounds']} rounds", f"seed {result['seed']}"]
    what = f" {', '.join(about)}." if about else ""
    return f"{where}; torch {machine['torch']}, Python {machine['python']};{what}".rstrip(";")


def filled(text: str) -> str:
    """The page with its blocks written anew."""

    def block(match: re.Match[str]) -> str:
        result = json.loads((lab.RESULTS / f"{match[2]}.json").read_text(encoding="utf-8"))
        rows = MEASURES[match[3]](result) if match[3] in MEASURES else table(result, match[3])
        lines = [_machine(result), "", *rows, ""]
        return match[1] + "\n".join(lines) + match[4]

    return BLOCK.sub(block, text)


def main() -> int:
    """Write the page, or with --check tell whether it is fresh."""
    text = filled(PAGE.read_text(encoding="utf-8"))
    if "--check" in sys.argv[1:]:
        if holds(PAGE, text):
            return 0
        print("docs/performance.md is stale; run: python benchmarks/tables.py")
        return 1
    write_texts({PAGE: text})
    return 0


if __name__ == "__main__":
    sys.exit(main())
