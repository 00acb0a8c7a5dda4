"""Random tables: what `homespec new --from` writes validates, and a model of it takes a step."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import homespec
from homespec.cli.new_from import Asked, drafted
from homespec.schema.models import Spec
from homespec.train import run
from homespec.train.settings import Settings

WORDS = st.text(max_size=8) | st.sampled_from(["", "null", "NaN", "1", "1.0", "007", "?", "a b"])
CELLS: tuple[st.SearchStrategy[Any], ...] = (
    st.integers(-3, 3), st.integers(0, 40), st.integers(-(2**63), 2**63 - 1), st.booleans(),
    st.floats(width=32), st.floats(), st.floats(-1e6, 1e6), WORDS, st.sampled_from(["a", "b", "c"]),
    st.lists(st.integers(0, 5), max_size=4), st.lists(WORDS, max_size=3),
    st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.dates(), st.just(None), st.binary(),
)  # fmt: skip
NAMES = st.text(max_size=6) | st.sampled_from(
    [
        "user_id",
        "tag",
        "play_time_ms",
        "hist",
        "null",
        "class",
        "date",
        "is_like",
        "price",
        "A",
        "a",
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A few columns of one kind of cells each, some of them missing, and 0 and 1 as `y`."""
    rows = draw(st.integers(8, 60))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    columns: dict[str, pa.Array] = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        pool = draw(st.lists(draw(st.sampled_from(CELLS)), min_size=1, max_size=rows))
        missing = draw(st.sampled_from([0.0, 0.0, 0.3]))
        cells = [pool[i] for i in random.integers(0, len(pool), rows)]
        columns[name] = pa.array([None if random.random() < missing else c for c in cells])
    columns["base"] = pa.array(random.integers(0, 3, rows))
    columns["y"] = pa.array(np.arange(rows) % 2)
    return pa.table(columns)


@settings(max_examples=40)
@given(rows=tables(), as_csv=st.booleans(), labels=st.sampled_from([(), ("y",)]))
def test_what_is_written_validates_and_trains(
    rows: pa.Table, as_csv: bool, labels: tuple[str, ...]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file = folder / "rows.parquet"
        if as_csv:
            plain = [f.name for f in rows.schema if not pa.types.is_nested(f.type)
                     and not pa.types.is_binary(f.type) and f.name]  # fmt: skip
            file = folder / "rows.csv"
            pyarrow.csv.write_csv(rows.select(plain), file)
        else:
            pq.write_table(rows, file)
        asked = Asked((file,), (), labels, 1000, folder / "prepared", True)
        try:
            text = drafted("t", folder / "t.yaml", asked).text
        except SystemExit:  # no input is left, or a name that CSV cannot have
            return
        (folder / "t.yaml").write_text(text)
        diagnostics = homespec.validate(folder / "t.yaml").diagnostics
        assert not [d for d in diagnostics if d.rule.code != "HS414"], text
        _step(homespec.load(folder / "t.yaml"), folder)


def _step(spec: Spec, folder: Path) -> None:
    place = run.Place([folder / "prepared"], folder / "run")
    settings = Settings(batch_size=4, compile=False, checkpoint_every=0)
    result = run.train(spec, place, settings, lambda line: None)
    (task, *_) = (task for name, task in result.tasks.items() if name.startswith("y"))  # or y_2
    assert np.isfinite(task.loss_last)


@pytest.fixture(autouse=True)
def quietly(capsys: pytest.CaptureFixture[str]) -> None:
    """Refusals are printed."""


def test_another_label_with_a_control_character(tmp_path: Path) -> None:
    rows = 40
    columns = {
        "y": np.arange(rows) % 2,
        "is_like\x9f": np.arange(rows) // 2 % 2,
        "base": np.arange(rows) % 3,
    }
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    asked = Asked((tmp_path / "rows.parquet",), (), ("y",), 1000, None, True)
    text = drafted("t", tmp_path / "t.yaml", asked).text
    assert "it may be another label: `is_like\\x9f`" in text
    (tmp_path / "t.yaml").write_text(text)
    assert homespec.validate(tmp_path / "t.yaml").diagnostics == ()
