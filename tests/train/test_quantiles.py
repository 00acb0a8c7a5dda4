"""Boundaries fitted to data: their numbers, their file, and what a run does with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.torch
from small_spec import SMALL
from steps import SETTINGS

import homespec
from homespec.data import DataError
from homespec.data.quantile_fit import quantile_boundaries
from homespec.train import RunError, fit_boundaries, quantiles, run
from homespec.train.datamodule import Part, Rows
from homespec.train.quantiles import FILE, Boundaries, Fitted, fit

GIVEN = "bucketize: [10000, 18000, 30000, 60000, 120000]"
TEXT = SMALL.replace(GIVEN, "bucketize: {quantiles: 8}")
SPEC = homespec.loads(TEXT)


def of(numbers: list[float] | np.ndarray, **options: int) -> Fitted:
    batch = {"duration_ms": np.asarray(numbers, np.float32)}
    return fit([batch], SPEC, **options).features["duration_ms"]


# ---------------------------------------------------------------- the numbers


def test_by_hand() -> None:
    assert quantile_boundaries(np.array([5.0, 1.0, 4.0, 2.0, 3.0, 0.0]), 3) == (2.0, 4.0)
    assert quantile_boundaries(np.array([7.0]), 3) == (7.0, 7.0)


def test_buckets_have_equally_many_rows() -> None:
    numbers = np.random.default_rng(0).permutation(1000).astype(np.float32)
    boundaries = of(numbers).boundaries
    buckets = np.searchsorted(boundaries, numbers, side="right")  # as `bucket_rows` does
    assert np.bincount(buckets).tolist() == [125] * 8


def test_ties_give_different_boundaries_while_there_are_different_numbers() -> None:
    """Ninety-five zeros of a hundred: the other five numbers get the boundaries that zeros lose."""
    numbers = [0.0] * 95 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert of(numbers).boundaries == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    rare = [0.0] * 900 + [float(n) for n in range(1, 101)]
    assert quantile_boundaries(np.array(rare), 5) == (1.0, 26.0, 51.0, 76.0)


@pytest.mark.parametrize("seed", range(20))
def test_boundaries_differ_wherever_they_can(seed: int) -> None:
    """Nothing is below the lowest number, so no boundary is: one fewer than different numbers."""
    random = np.random.default_rng(seed)
    values, quantiles = int(random.integers(1, 60)), int(random.integers(2, 50))
    numbers = random.choice(
        random.normal(size=values), 400, p=random.dirichlet(np.ones(values) / 9)
    )
    different, found = np.unique(numbers), quantile_boundaries(numbers, quantiles)
    assert list(found) == sorted(found)
    assert len(found) == quantiles - 1
    assert len(set(found)) == max(1, min(quantiles - 1, len(different) - 1))
    assert set(found) <= set(different[1:] if len(different) > 1 else different)
    plain = np.sort(numbers)[np.arange(1, quantiles) * 400 // quantiles]
    assert {*plain} - {different[0]} <= set(found)  # ties move no other boundary


def test_too_few_numbers_repeat_the_last_boundary() -> None:
    numbers = [0.0] * 60 + [1.0, 2.0, 3.0, 4.0] * 10
    boundaries = of(numbers).boundaries
    assert boundaries == (1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0)
    buckets = np.searchsorted(boundaries, numbers, side="right")
    assert np.bincount(buckets).tolist() == [60, 10, 10, 10, 0, 0, 0, 10]


def test_what_is_not_finite_is_left_out() -> None:
    fitted = fit([{"duration_ms": np.array([np.nan, np.inf, 3, 1, -np.inf])}], SPEC)
    assert (fitted.rows, fitted.features["duration_ms"].known) == (5, 2)
    assert set(fitted.values["duration_ms"]) == {3.0}


@pytest.mark.parametrize("cap", [100, 5000])
def test_batches_make_no_difference(cap: int) -> None:
    numbers = np.random.default_rng(1).normal(size=3000)
    whole = fit([{"duration_ms": numbers}], SPEC, cap=cap, seed=3)
    for size in (1, 7, 99, 100, 101, 1024):
        parts = [{"duration_ms": numbers[i : i + size]} for i in range(0, 3000, size)]
        assert fit(parts, SPEC, cap=cap, seed=3) == whole


def test_a_sample_is_uniform_over_all_rows() -> None:
    """Sorted data, ten times the sample: quantiles are off by a few of its standard deviations."""
    rows, cap = 200_000, 20_000
    parts = [{"duration_ms": np.arange(i, i + 5000.0)} for i in range(0, rows, 5000)]
    for seed in range(3):
        found = np.array(fit(parts, SPEC, cap=cap, seed=seed).values["duration_ms"])
        exact = np.arange(1, 8) / 8 * rows
        assert np.abs(found - exact).max() < 4 * 0.5 / cap**0.5 * rows
    assert of(np.arange(999.0), cap=100, seed=0) == of(np.arange(999.0), cap=100, seed=0)
    assert of(np.arange(999.0), cap=100, seed=0) != of(np.arange(999.0), cap=100, seed=1)


def test_nothing_to_fit_to() -> None:
    with pytest.raises(DataError, match=r"`duration_ms`.*holds no number in 2 rows"):
        fit([{"duration_ms": np.array([np.nan, np.nan])}], SPEC)
    with pytest.raises(
        DataError, match="column of the feature `duration_ms`, which must be fitted, is missing"
    ):
        fit([{"other": np.array([1.0])}], SPEC)


# ---------------------------------------------------------------- fields of events

HISTORY = """\
  history:
    sequence:
      of: [video_id]
      with:
        duration_ms: {bucketize: {quantiles: 4}, dim: 4}
        author: {table: user_id}
      columns: {author: history_author_id}
      max_len: 5
      encoder: mean
groups:
"""
EVENTS = homespec.loads(SMALL.replace("groups:\n", HISTORY))
KEY = "history.duration_ms"


def test_events_that_are_not_there_do_not_count() -> None:
    """Nobody looks at a field where the first one is missing; a gap is as good as the end."""
    video = np.array([[3, -1, 4, -1], [-1, -1, -1, -1]])
    seconds = np.array([[1.0, 99.0, 2.0, np.nan], [99.0, 99.0, 99.0, 99.0]])
    fitted = fit([{KEY: seconds, "history.video_id": video}], EVENTS)
    assert (fitted.rows, fitted.features[KEY].known) == (2, 2)
    assert fitted.values == {KEY: [2.0, 2.0, 2.0]}
    with pytest.raises(DataError, match=r"column of the feature `history\.video_id`, which must"):
        fit([{KEY: seconds}], EVENTS)


def test_the_first_field_may_be_a_number() -> None:
    of_number = homespec.loads(
        SMALL.replace("groups:\n", HISTORY).replace("of: [video_id]", "of: [duration_ms]")
        .replace("        duration_ms:", "        seconds:")
    )  # fmt: skip
    first, seconds = np.array([[5.0, np.nan]]), np.array([[1.0, 2.0]])
    fitted = fit([{"history.duration_ms": first, "history.seconds": seconds}], of_number)
    assert fitted.values == {"history.seconds": [1.0, 1.0, 1.0]}


def test_a_run_fits_fields_of_events(data: Path, tmp_path: Path) -> None:
    """From the lists of the data, the latest five events of each row; frozen like the others."""
    said: list[str] = []
    settings = replace(SETTINGS, epochs=1)
    run.train(EVENTS, run.Place([data], tmp_path), settings, said.append)
    kept = Boundaries.read(tmp_path / FILE)
    assert any(f"boundaries of {KEY} are fitted to 1,500 rows" in line for line in said)
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert weights[f"features.{KEY}.boundaries"].tolist() == kept.values[KEY]
    rows = Rows.open(EVENTS, [data], [], settings)
    table = pq.read_table(data / "train.parquet")[:1500]
    latest = [
        number
        for events in table["history_duration_ms"].to_pylist()
        for number in (events or [])[-5:]
        if number is not None
    ]
    assert kept.features[KEY].known == len(latest) > 1000
    assert kept.values[KEY] == list(quantile_boundaries(np.array(latest, np.float32), 4))
    streamed = fit(fit_boundaries._batches(EVENTS, Part(rows.train.source, None)), EVENTS, seed=0)
    assert streamed == kept
    run.train(EVENTS, run.Place([data], tmp_path, resume=True), settings, print)
    assert Boundaries.read(tmp_path / FILE) == kept


# ---------------------------------------------------------------- the file


def test_the_file_has_all_digits_and_says_what_it_is(tmp_path: Path) -> None:
    numbers = np.random.default_rng(2).normal(size=50) / 3
    fitted = fit([{"duration_ms": numbers}], SPEC)
    fitted.write(tmp_path / FILE)
    assert Boundaries.read(tmp_path / FILE) == fitted
    about = json.loads((tmp_path / FILE).read_text())
    assert about["rows"] == 50
    assert about["features"]["duration_ms"]["quantiles"] == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("quantiles: 8", "quantiles: 9"), "`duration_ms` has 8 quantiles there and 9 in the spec"),
        (("quantiles: 8}", "quantiles: 8}, column: ms"), "the column `duration_ms` there, `ms` in"),
        (("bucketize: {quantiles: 8}", GIVEN), "it has boundaries of `duration_ms`, which the"),
        (
            ("  tab:", "  age: {bucketize: {quantiles: 2}, dim: 2}\n  tab:"),
            "no boundaries of `age`",
        ),
    ],
)
def test_another_spec_is_told_what_differs(change: tuple[str, str], said: str) -> None:
    other = homespec.loads(TEXT.replace(*change))
    with pytest.raises(DataError, match=said):
        fit([{"duration_ms": np.arange(9.0)}], SPEC).check(other, "x.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 2}', '{"version": 1, "rows": 1, "features": {"a": {}}}',
     '{"version": 1, "rows": 1, "features": {"a": {"column": "a", "quantiles": 3, "known": 1,'
     ' "boundaries": [2, 1]}}}', '{"version": 1, "rows": 1e999, "features": {}}',
     "[" * 100_000],
)  # fmt: skip
def test_a_broken_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError, match=r"boundaries\.json cannot be read \("):
        Boundaries.read(tmp_path / FILE)
    with pytest.raises(DataError, match="No such file"):
        Boundaries.read(tmp_path / "none.json")


def test_a_run_says_if_boundaries_are_equal() -> None:
    numbers = {"duration_ms": np.array([0.0] * 96 + [1, 2, 3, 4]), "age": np.arange(100.0)}
    features = {
        name: Fitted(name, 16, 100, quantile_boundaries(values, 16))
        for name, values in numbers.items()
    }
    assert list(fit_boundaries.few(Boundaries(100, features))) == [
        "only 4 of the 15 boundaries of duration_ms differ, since its column holds too few"
        " different numbers"
    ]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        Boundaries(0, {}).write(tmp_path / "file" / FILE)


# ---------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a run, and what it said."""
    out, said = tmp_path_factory.mktemp("run"), list[str]()
    run.train(SPEC, run.Place([data], out), replace(SETTINGS, epochs=1), said.append)
    return out, said


def test_a_run_fits_once_and_keeps_them_with_the_weights(
    trained: tuple[Path, list[str]], data: Path
) -> None:
    out, said = trained
    kept = Boundaries.read(out / FILE).values["duration_ms"]
    assert sum("boundaries of duration_ms are fitted to" in line for line in said) == 1
    weights = safetensors.torch.load_file(out / "model.safetensors")
    assert weights["features.duration_ms.boundaries"].tolist() == kept
    rows = Rows.open(SPEC, [data], [], SETTINGS).held()
    assert rows.train.held is not None
    whole = np.sort(rows.train.held.features["duration_ms"])
    assert kept == [float(whole[k * len(whole) // 8]) for k in range(1, 8)]


def test_rows_from_files_give_the_same(trained: tuple[Path, list[str]], data: Path) -> None:
    out, _ = trained
    rows = Rows.open(SPEC, [data], [], SETTINGS)
    found = fit(
        fit_boundaries._batches(SPEC, Part(rows.train.source, None)), SPEC, seed=SETTINGS.seed
    )
    assert found == Boundaries.read(out / FILE)


def test_resuming_never_refits(
    trained: tuple[Path, list[str]], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = trained
    before = (out / FILE).read_bytes()
    monkeypatch.setattr(quantiles, "fitted", None)
    said: list[str] = []
    run.train(SPEC, run.Place([data], out, resume=True), replace(SETTINGS, epochs=2), said.append)
    assert not any("fitted" in line for line in said)
    assert (out / FILE).read_bytes() == before
    other = json.loads(before)
    other["features"]["duration_ms"]["boundaries"][0] -= 1
    (out / FILE).write_text(json.dumps(other))
    with pytest.raises(DataError, match="other boundaries of `duration_ms` than the checkpoint"):
        run.train(SPEC, run.Place([data], out, resume=True), replace(SETTINGS, epochs=3), print)
    (out / FILE).unlink()
    run.train(SPEC, run.Place([data], out, resume=True), replace(SETTINGS, epochs=3), print)


def test_a_column_without_numbers_stops_before_training(
    parquet: Callable[..., Path], tmp_path: Path
) -> None:
    columns = {name: [1] * 300 for name in ("user_id", "video_id", "tag", "tab", "is_click")}
    columns |= {name: [1] * 300 for name in ("play_time_ms", "is_like", "comment_stay_time")}
    for name in ("train.parquet", "valid.parquet"):
        parquet(name, duration_ms=[float("nan")] * 300, **columns)
    settings = replace(SETTINGS, batch_size=100)
    with pytest.raises(DataError, match="holds no number in 300 rows"):
        run.train(SPEC, run.Place([tmp_path], tmp_path / "out"), settings, print)
    assert not (tmp_path / "out" / "checkpoints").exists()
