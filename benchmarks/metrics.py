"""How long the measures of one task take: `python benchmarks/metrics.py --rows 10000000`.

Rows are of users drawn at random, each with about fifty; scores are float32. Seconds of the one
core that numpy uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import click
import numpy as np

from homespec.train import metrics

ROWS_OF_A_USER = 50


@click.command()
@click.option("--rows", default=10_000_000, type=click.IntRange(1), show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(rows: int, seed: int) -> None:
    """Print the time of each measure."""
    random = np.random.default_rng(seed)
    score = random.normal(size=rows).astype(np.float32)
    label = (random.random(rows) < metrics.sigmoid(score - 2)).astype(np.float32)
    close = random.integers(0, max(1, rows // ROWS_OF_A_USER), rows)
    hashed = random.integers(0, 2**63, int(close.max()) + 1)[close]
    click.echo(f"{rows:,} rows of {rows // ROWS_OF_A_USER:,} users")
    timed("GAUC", lambda: metrics.gauc(score, label, close))
    timed("GAUC, users are hashes", lambda: metrics.gauc(score, label, hashed))
    timed("users that are hashes, once for all tasks", lambda: metrics.close_together(hashed))
    timed("AUC", lambda: metrics.auc(score, label))
    timed("log loss", lambda: metrics.log_loss(score, label))
    timed("PCOC", lambda: metrics.calibration(metrics.sigmoid(score), label))


def timed(name: str, measure: Callable[[], object]) -> None:
    """Print how long a measure takes."""
    started = time.thread_time()
    measure()
    click.echo(f"{time.thread_time() - started:6.1f} s  {name}")


if __name__ == "__main__":
    main()
