"""Gradient boosting on the scalar columns of the prepared KuaiRand, for a sense of scale.

    python -m examples.kuairand.prepare FOLDER_OF_THE_CSV_FILES .cache/kuairand --log-days
    python benchmarks/boosting.py .cache/kuairand

Prints the AUC of scikit-learn's HistGradientBoostingClassifier on four tasks, each trained alone,
without and with the rates of earlier days (`*_past_*`), as lines of a table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

TASKS = ("click", "long_view", "finish", "like")
KNOWN_AFTER = {"play_time_ms", "profile_stay_time", "comment_stay_time", "long_view"}
KNOWN_AFTER |= {"is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate"}
KNOWN_AFTER |= {"is_profile_enter"}
NOT_INPUTS = KNOWN_AFTER | {"user_id", "date", "time_ms"}
"""Also what tells rows apart, by which trees cannot generalise."""


def inputs(table: pa.Table, past: bool) -> np.ndarray[Any, Any]:
    """The scalar columns as numbers [N, columns]; text by its code, missing as NaN."""
    names = [
        name
        for name, kind in zip(table.column_names, table.schema.types, strict=True)
        if not (name in NOT_INPUTS or pa.types.is_nested(kind) or ("_past_" in name and not past))
    ]
    return np.stack([_numbers(table[name].combine_chunks()) for name in names], axis=1)


def _numbers(column: pa.Array) -> np.ndarray[Any, Any]:
    if pa.types.is_string(column.type):
        column = column.dictionary_encode().indices
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def label(table: pa.Table, task: str) -> np.ndarray[Any, Any]:
    """The labels [N] of a task, as in specs/kuairand.yaml."""
    if task == "finish":
        happened = pc.greater_equal(table["play_time_ms"], table["duration_ms"])
    else:
        happened = table[task if task == "long_view" else f"is_{task}"]
    return np.asarray(happened.cast(pa.int8()).to_numpy())


def auc(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], train: int) -> float:
    """On the rows behind the first `train`, of a model of those."""
    model = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.08, min_samples_leaf=50, l2_regularization=5, random_state=0
    )
    model.fit(x[:train], y[:train])
    return float(roc_auc_score(y[train:], model.predict_proba(x[train:])[:, 1]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    folder = parser.parse_args().data
    parts = [pq.read_table(folder / f"{name}.parquet") for name in ("train", "valid")]
    table = pa.concat_tables(parts)
    print(f"| inputs | {' | '.join(TASKS)} |")
    for past, how in ((False, "without rates of earlier days"), (True, "with them")):
        x = inputs(table, past)
        aucs = [auc(x, label(table, task), parts[0].num_rows) for task in TASKS]
        print(f"| {how} | {' | '.join(f'{each:.4f}' for each in aucs)} |", flush=True)


if __name__ == "__main__":
    main()
