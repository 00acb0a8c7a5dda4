"""Gradient boosting on the scalar columns of the prepared KuaiRand, for a sense of scale.

    python -m examples.kuairand.prepare FOLDER_OF_THE_CSV_FILES .cache/kuairand --log-days
    python benchmarks/boosting.py .cache/kuairand

Prints the AUC and GAUC of scikit-learn's HistGradientBoostingClassifier on each task of
specs/kuairand.yaml, trained alone, without and with the rates of earlier days (`*_past_*`), as
lines of two tables. The models do not depend on a seed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import lab
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier

import homespec
from homespec.data.label_values import labels
from homespec.schema.label_parser import parse_label
from homespec.train.metrics import auc, gauc

Numbers = np.ndarray[Any, Any]

SPEC = Path(__file__).resolve().parent.parent / "specs" / "kuairand.yaml"
KNOWN_AFTER = {"play_time_ms", "profile_stay_time", "comment_stay_time", "long_view"}
KNOWN_AFTER |= {"is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate"}
KNOWN_AFTER |= {"is_profile_enter"}
NOT_INPUTS = KNOWN_AFTER | {"user_id", "date", "time_ms"}
"""Columns that only identify rows, so trees cannot generalise from them."""


def inputs(table: pa.Table, past: bool) -> Numbers:
    """The scalar columns as numbers [N, columns]; text by its code, missing as NaN."""
    names = [
        name
        for name, kind in zip(table.column_names, table.schema.types, strict=True)
        if not (name in NOT_INPUTS or pa.types.is_nested(kind) or ("_past_" in name and not past))
    ]
    return np.stack([_numbers(table[name].combine_chunks()) for name in names], axis=1)


def _numbers(column: pa.Array) -> Numbers:
    if pa.types.is_string(column.type):
        column = column.dictionary_encode().indices
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def scores(x: Numbers, label: Numbers, train: int) -> Numbers:
    """The scores of the rows after the first `train`, by a model trained on those."""
    model = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.08, min_samples_leaf=50, l2_regularization=5, random_state=0
    )
    model.fit(x[:train], label[:train])
    return np.asarray(model.predict_proba(x[train:])[:, 1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    folder = parser.parse_args().data
    parts = [pq.read_table(folder / f"{name}.parquet") for name in ("train", "valid")]
    table, train = pa.concat_tables(parts), parts[0].num_rows
    user = parts[1]["user_id"].to_numpy()
    tasks = homespec.load(SPEC).tasks
    rows: dict[str, list[list[str]]] = {"AUC": [], "GAUC": []}
    for past, how in ((False, "without rates of earlier days"), (True, "with them")):
        x = inputs(table, past)
        cells: dict[str, list[str]] = {name: [how] for name in rows}
        for name, task in tasks.items():
            label = labels(name, parse_label(task.label), table, binary=True)
            score, held = scores(x, label, train), label[train:]
            cells["AUC"].append(f"{auc(score, held > 0):.4f}")
            cells["GAUC"].append(f"{gauc(score, held, user):.4f}")
            print(how, name, cells["AUC"][-1], cells["GAUC"][-1], file=sys.stderr, flush=True)
        for name in rows:
            rows[name].append(cells[name])
    for name in rows:
        print(*lab.table([name, *tasks], rows[name]), sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
