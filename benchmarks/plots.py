"""Draw docs/plots/small.png from benchmarks/results/small.json, the file behind the tables.

python benchmarks/plots.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from homespec.bench.compile_time import Seconds
from homespec.bench.measurements import Case, Facts, Result, Settings
from homespec.bench.plot import plot

HERE = Path(__file__).parent
RESULT = HERE / "results" / "small.json"
PLOT = HERE.parent / "docs" / "plots" / "small.png"


def read(path: Path) -> Result:
    """What `homespec bench --json` wrote."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    cases = [_case(case) for case in data.pop("cases")]
    return Result(**{**data, "settings": Settings(**data["settings"]), "cases": cases})


def _case(data: dict[str, Any]) -> Case:
    kept = {name: data[name] for name in ("tasks", "precision", "parameters", "flops", "times")}
    return Case(**kept, facts={name: _facts(facts) for name, facts in data["facts"].items()})


def _facts(data: dict[str, Any]) -> Facts:
    compiling = {cache: Seconds(**took) for cache, took in data["compiling"].items()}
    return Facts(**{**data, "compiling": compiling})


if __name__ == "__main__":
    plot(read(RESULT), PLOT)
