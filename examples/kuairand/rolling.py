"""Day by day on KuaiRand: train on one day, measure on the next, start from the day before.

    python -m examples.kuairand.prepare DIR PREPARED
    python -m examples.kuairand.rolling PREPARED OUT

For each pair of days in PREPARED that follow each other, three models are measured on the second:
`warm` starts from the warm model of the day before and trains on the first day alone; `fresh`
trains new weights on it alone; `all` trains new weights on all days up to it. OUT/rolling.md has
the table, OUT/rolling.svg the plot, OUT/rolling.json all numbers. Runs that are done are not run
again.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import click

from homespec.cli.errors import exit_2_on, script_needs

if __name__ == "__main__":
    script_needs("train", "lightning", "pyarrow")
    script_needs("bench", "matplotlib")

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import homespec
from homespec.api import LoadedSpec
from homespec.atomic_write import replacing, write_texts
from homespec.data import DataError
from homespec.header import spec_hash
from homespec.train import RunError
from homespec.train.load_run import metrics_of
from homespec.train.run import Place, train
from homespec.train.run_dir import stored_settings
from homespec.train.settings import Settings

SPEC = Path(__file__).with_name("rolling.yaml")
ARMS = ("warm", "fresh", "all")
WORDS = {"warm": "warm start", "fresh": "this day alone", "all": "all days so far"}


class Day(NamedTuple):
    """What came of one arm and seed on one day."""

    arm: str
    seed: int
    trained: str
    """The last date that was trained on."""
    tested: str
    metrics: dict[str, Any]


def split_by_day(prepared: Path, out: Path) -> dict[str, Path]:
    """The rows of `train.parquet` and `valid.parquet` by their date, a file for each in `out`.

    Raises DataError for fewer than two days, and for files there that hold other rows.
    """
    parts: dict[str, Path] = {}
    for name in ("train", "valid"):
        path = prepared / f"{name}.parquet"
        if not path.is_file():
            raise DataError(f"{path} is missing: prepare the log first (python -m"
                            " examples.kuairand.prepare DIR PREPARED)")  # fmt: skip
        table = pq.read_table(path)
        for date in sorted(pc.unique(table["date"]).to_pylist()):
            parts[str(date)] = out / f"{date}.parquet"
            _write(table.filter(pc.equal(table["date"], date)), parts[str(date)])
    if len(parts) < 2:
        raise DataError(f"{prepared} has rows of {len(parts)} day: two are needed")
    return parts


def _write(rows: pa.Table, path: Path) -> None:
    """Write rows, unless they are there: runs that were trained on others must not be mixed up."""
    if not path.is_file():
        with replacing(path) as (temporary,):
            pq.write_table(rows, temporary)
    elif not pq.read_table(path).equals(rows):
        raise DataError(f"{path} holds other rows of that day: give another OUT")


def roll(
    spec: LoadedSpec, days: dict[str, Path], out: Path, seed: int, settings: Settings
) -> Iterator[Day]:
    """Train and measure all arms, one day after the other."""
    dates = list(days)
    for number, (trained, tested) in enumerate(itertools.pairwise(dates)):
        for arm in ARMS:
            first = 0 if arm == "all" else number
            data = [days[date] for date in dates[first : number + 1]]
            before = out / f"{arm}-{seed}" / dates[number - 1]
            start = str(before) if arm == "warm" and number else None
            place = Place(data, out / f"{arm}-{seed}" / trained, [days[tested]], resume=True)
            changed = Settings(**vars(settings) | {"seed": seed, "init_from": start})
            yield Day(arm, seed, trained, tested, _measured(spec, place, changed))


def _measured(spec: LoadedSpec, place: Place, settings: Settings) -> dict[str, Any]:
    """The metrics of a run, which is trained unless it is done.

    Raises RunError for a run of other settings, or of another spec.
    """
    metrics = metrics_of(place.out)
    same = not metrics or metrics["spec_sha256"] == spec_hash(spec.analysis.document)
    if stored_settings(place.out) not in (None, settings) or not same:
        raise RunError(f"{place.out} is a run of other settings or another spec: give another OUT")
    if not metrics:
        train(spec, place, settings, lambda line: None)
    return metrics or metrics_of(place.out)


# ---------------------------------------------------------------- what came of it

Series = dict[str, dict[str, list[float]]]
"""By arm and tested date, a number of each seed; `before` is the warm model before it trains."""


def series(found: Sequence[Day], metric: str = "auc", task: str = "") -> Series:
    """A metric of one task, or its mean over all tasks."""
    numbers: Series = {}
    for day in found:
        epochs = {entry["epoch"]: entry["tasks"] for entry in day.metrics["history"]}
        measured = {day.arm: day.metrics["tasks"]}
        if day.arm == "warm" and 0 in epochs:
            measured["before"] = epochs[0]
        for name, tasks in measured.items():
            own = [tasks[t][metric] for t in ([task] if task else tasks)]
            numbers.setdefault(name, {}).setdefault(day.tested, []).append(statistics.mean(own))
    return numbers


def table(numbers: Series, dates: Sequence[str]) -> str:
    """A row for each day that was measured on, and their mean where all arms have one."""
    names = {"before": "warm start, before the day", **WORDS}
    lines = [["measured on", *names.values()], ["---", *["---:"] * len(names)]]
    for date in dates:
        lines.append([_date(date), *(_spread(numbers[name].get(date, [])) for name in names)])
    common = [date for date in dates if date in numbers["before"]]
    means = (_spread(_of_days(numbers[name], common)) for name in names)
    lines.append([f"mean from {_date(common[0])} on" if common else "mean", *means])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def by_task(found: Sequence[Day], dates: Sequence[str]) -> str:
    """The mean over days of each task's AUC."""
    lines = [["task", *WORDS.values()], ["---", *["---:"] * len(WORDS)]]
    for task in found[0].metrics["tasks"]:
        numbers = series(found, task=task)
        common = [date for date in dates if date in numbers.get("before", {})] or dates
        lines.append([task, *(_spread(_of_days(numbers[arm], common)) for arm in WORDS)])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _of_days(numbers: dict[str, list[float]], dates: Sequence[str]) -> list[float]:
    """The mean over days, of each seed."""
    return [statistics.mean(of_seed) for of_seed in zip(*(numbers[d] for d in dates), strict=True)]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


def _date(date: str) -> str:
    return f"{datetime.strptime(date, '%Y%m%d'):%-d %b}"


def plot(numbers: Series, dates: Sequence[str], path: Path) -> None:
    """Draw the mean AUC by day, a line for each arm, with the spread over seeds."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "homespec"  # the same bytes each time
    figure, axes = plt.subplots(figsize=(8, 4))
    for name, label in {**WORDS, "before": "warm start, before the day"}.items():
        known = [date for date in dates if date in numbers.get(name, {})]
        means = [statistics.mean(numbers[name][date]) for date in known]
        around = [statistics.pstdev(numbers[name][date]) for date in known]
        style = ":" if name == "before" else "-"
        axes.errorbar(known, means, yerr=around, fmt=f"o{style}", label=label, capsize=3)
    axes.set_xticks(dates, [_date(date) for date in dates])
    axes.set(xlabel="measured on", ylabel="AUC, mean over tasks")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    with replacing(path) as (temporary,):
        figure.savefig(temporary, format=path.suffix[1:], metadata={"Date": None})
    plt.close(figure)


@click.command()
@click.argument("prepared", type=click.Path(file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option(
    "--days", "most", default=10, show_default=True, type=click.IntRange(2),
    help="Days to use, the first ones.",
)  # fmt: skip
@click.option("--batch-size", default=512, show_default=True, type=click.IntRange(2))
@click.option("--lr", default=3e-3, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option(
    "--plot", "picture", type=click.Path(dir_okay=False, path_type=Path),
    help="Where to draw the plot, .svg or .png.  [default: OUT/rolling.svg]",
)  # fmt: skip
def main(
    prepared: Path, out: Path, seeds: int, most: int, batch_size: int, lr: float,
    picture: Path | None,
) -> None:  # fmt: skip
    """Train and measure by day on the rows of PREPARED, and leave runs and results in OUT."""
    settings = Settings(batch_size=batch_size, lr=lr, schedule="constant", compile=False)
    with exit_2_on(DataError, RunError):
        days = split_by_day(prepared, out / "days")
        days = dict(sorted(days.items())[:most])
        found = []
        for seed in range(seeds):
            for day in roll(homespec.load(SPEC), days, out, seed, settings):
                auc = statistics.mean(task["auc"] for task in day.metrics["tasks"].values())
                click.echo(f"seed {seed}  {WORDS[day.arm]:17} to {day.trained}  AUC {auc:.4f}")
                found.append(day)
        numbers, dates = series(found), sorted({day.tested for day in found})
        text = f"{table(numbers, dates)}\n{by_task(found, dates)}"
        content = json.dumps([day._asdict() for day in found], indent=1) + "\n"
        write_texts({out / "rolling.md": text, out / "rolling.json": content})
        plot(numbers, dates, picture or out / "rolling.svg")
    click.echo(f"\n{text}")


if __name__ == "__main__":
    main()
