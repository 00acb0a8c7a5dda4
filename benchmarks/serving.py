"""The whole measurement of docs/performance/serving.md, in pieces that a stop does not lose.

    pip install '.[export]'
    python benchmarks/serving.py [--sizes small,public,kuairand] [--threads 1,2] [--rounds 30]

For each size, number of threads and batch: plain and optimised code eager, optimised code under
torch.compile, and `model.onnx` and `model.pt2` as `homespec export` writes them, in turns in one
process. A size and a number of threads is a process; its cases go to
`benchmarks/results/serving-SIZE.json` as soon as it ends, in place of those of the same threads and
batches. `python benchmarks/tables.py` then makes the tables. On an idle machine of two cores all of
it takes about half an hour, most of which is compiling.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import lab
import torch

from homespec.atomic_write import write_texts

HERE = Path(__file__).parent
SIZES = {
    "small": [str(HERE / "scaling.py"), str(lab.SPECS / "small.yaml"), "--tasks", "32"],
    "public": ["-m", "homespec", "bench", str(lab.SPECS / "public.yaml")],
    "kuairand": ["-m", "homespec", "bench", str(HERE.parent / "specs" / "kuairand.yaml")],
}
"""The arguments of Python that measure each."""
VARIANTS = "naive,ours,ours-compiled,ours-onnxruntime,ours-aotinductor"


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """A result with the cases of an earlier one that it does not have itself, in order."""
    places = {(case["threads"], case["batch"]): case for case in before.get("cases", [])}
    places |= {(case["threads"], case["batch"]): case for case in now["cases"]}
    cases = [
        case | {"times": {measure: lab.rounded(of) for measure, of in case["times"].items()}}
        for _, case in sorted(places.items())
    ]
    counts = {"batches": sorted({b for _, b in places}), "threads": sorted({t for t, _ in places})}
    return {**now, "settings": now["settings"] | counts, "cases": cases}


def measure(size: str, threads: int, options: list[str]) -> None:
    """Measure a size with a number of threads, and keep the cases. Exits if that fails."""
    kept = lab.RESULTS / f"serving-{size}.json"
    before = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    with tempfile.TemporaryDirectory(prefix="homespec-serving-") as folder:
        result = Path(folder, "result.json")
        command = [sys.executable, *SIZES[size], "--mode", "inference", "--threads", str(threads)]
        done = subprocess.run([*command, *options, "--json", str(result)], check=False)  # noqa: S603
        if not result.exists():
            raise SystemExit(done.returncode)
        now = json.loads(result.read_text("utf-8"))
    write_texts({kept: json.dumps(merged(before, now), indent=1, ensure_ascii=False) + "\n"})
    if not now["complete"]:
        raise SystemExit(1)


def main() -> None:
    """Measure what was asked for; all options that are not ours are those of homespec bench."""
    parser = lab.parser(__doc__)
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--threads", type=lab.integers, default=[1, torch.get_num_threads()])
    parser.add_argument("--variants", default=VARIANTS)
    given, options = parser.parse_known_args()
    variants = ["--variants", given.variants]
    for size in given.sizes.split(","):
        for threads in dict.fromkeys(given.threads):
            measure(size, threads, [*variants, *options])


if __name__ == "__main__":
    main()
