"""check-data on ids that share rows, scales of regressions, fitted boundaries, and odd lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import homespec
from homespec.data.collisions import HashedTable, collisions
from homespec.data.data_files import open_files
from homespec.data.data_rules import check
from homespec.data.list_profile import Run
from homespec.data.profiled import ProfiledData
from homespec.data.profiler import profile
from homespec.diagnostics import Diagnostic

ROWS = 1000
RANDOM = np.random.default_rng(0)
Y = RANDOM.integers(0, 2, ROWS)
ROW = "row: {id: {buckets: 1000}, dim: 4}"
"""Tells rows apart, so that none repeat another one."""


def measured(
    tmp_path: Path, features: str, tasks: str = "{y: {}}", csv: bool = False, **columns: Any
) -> ProfiledData:
    loaded = homespec.loads(
        f"homespec: 1\nname: s\nfamily: mmoe\nfeatures:\n  {ROW}\n  {features}\ntasks: {tasks}\n"
    )
    table = pa.table({"row": np.arange(ROWS), "y": Y} | columns)
    path = tmp_path / "train.csv" if csv else tmp_path / "train.parquet"
    if csv:
        table.to_pandas().to_csv(path, index=False)
    else:
        pq.write_table(table, path)
    return ProfiledData(loaded, loaded.analysis.document, profile(loaded, open_files([path])))


def found(*args: Any, **kwargs: Any) -> list[Diagnostic]:
    return check(measured(*args, **kwargs))


def codes(diagnostics: list[Diagnostic]) -> list[str]:
    return [diagnostic.rule.code for diagnostic in diagnostics]


# ---------------------------------------------------------------- ids that share rows


def ids(values: list[Any]) -> list[Any]:
    """A column that holds all of them."""
    return [values[i % len(values)] for i in range(ROWS)]


STATES = [f"state {i}" for i in range(51)]


@pytest.mark.parametrize(
    ("buckets", "values", "code", "help_"),
    [
        (1000, [1000 * k + 7 for k in range(50)], "HS514", "write `buckets: 1009`, with which 50"),
        (64, [64 * k for k in range(40)], "HS514", "write `buckets: 67`, with which 40 rows"),
        (4096, [2**40 * k for k in range(900)], "HS514", "write `buckets: 4099`, with which"),
        (60, STATES, "HS515", "write `buckets: 480`, where 2 share a row, or number the ids 0 to"),
        (30, list(range(51)), "HS515", "write `vocab: 51`, where each id has a row of its own"),
        (600, [f"u{i}" for i in range(400)], "HS515", "write `buckets: 4800`, where"),
    ],
)
def test_ids_that_share_rows(
    tmp_path: Path, buckets: int, values: list[Any], code: str, help_: str
) -> None:
    (one,) = found(tmp_path, f"f: {{id: {{buckets: {buckets}}}, dim: 4}}", f=ids(values))
    assert one.rule.code == code
    assert one.help is not None
    assert one.help.startswith(help_)
    assert (one.span.start.line, one.span.start.column) == (6, 21)  # the number of buckets


@pytest.mark.parametrize(
    ("buckets", "values"),
    [
        (1000, list(range(900))),
        (1000, list(range(10**9, 10**9 + 900))),
        (1000, [f"u{i}" for i in range(200)]),
        (480, STATES),
        (1009, [1000 * k + 7 for k in range(50)]),
        (51, [-k for k in range(2, 53)]),
        (10, [7]),
    ],
)
def test_ids_that_have_rows_enough(tmp_path: Path, buckets: int, values: list[Any]) -> None:
    assert "HS51" not in str(
        codes(found(tmp_path, f"f: {{id: {{buckets: {buckets}}}, dim: 4}}", f=ids(values)))
    )


def test_what_is_looked_up_in_one_table_counts_together(tmp_path: Path) -> None:
    features = (
        "f: {id: {buckets: 1000}, dim: 4}\n  last: {table: f}\n"
        "  h: {sequence: {of: [f], with: {own: {id: {buckets: 9}, dim: 4}}, max_len: 2,"
        " encoder: mean}}"
    )
    columns = {
        "f": ids(STATES[:20]), "last": ids([f"a{i}" for i in range(300)]),
        "h_f": ids([[f"b{i}"] for i in range(300)]), "h_own": ids([[3], [9], [18]]),
    }  # fmt: skip
    data = measured(tmp_path, features, **columns)
    tables = {feature.tensor.name: table.now for feature, table in data.train.tables()}
    assert {name: (now.ids, now.buckets) for name, now in tables.items()} == {
        "row": (1000, 1000), "f": (620, 1000), "h.own": (3, 9),
    }  # fmt: skip
    assert tables["h.own"].sharing == 2
    found_ = check(data)
    assert codes(found_) == ["HS515", "HS515"]
    assert [d.span.start.line for d in found_] == [6, 8]
    assert "ids of `f` share a row" in found_[0].message
    assert (
        "2 of 3 (67%) ids of `h_own` share a row with another id: they use 2" in found_[1].message
    )


@given(
    st.sets(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50), st.integers(1, 60)
)  # one by one
def test_crowding(values: set[int], buckets: int) -> None:
    rows = [value % buckets for value in values]
    now = collisions(np.array(sorted(values)), buckets)
    assert (now.ids, now.rows) == (len(values), len(set(rows)))
    assert now.sharing == sum(rows.count(row) > 1 for row in rows)
    assert 0 < now.expected <= min(buckets, len(values)) + 1e-9


def test_proposals_do_what_they_say() -> None:
    table = HashedTable.of([np.arange(50) * 1000 + 7], 1000)
    other = table.unpatterned()
    assert other == collisions(table.ids, 1009)
    assert table.roomier() == collisions(table.ids, 64_000)
    assert HashedTable.of([np.arange(50) << 40], 2).roomier() is None
    assert HashedTable.of([np.arange(5)], 4).roomier() == collisions(np.arange(5), 8)


# ---------------------------------------------------------------- scales of regressions


NORMAL = RANDOM.standard_normal(ROWS)


@pytest.mark.parametrize(
    ("label", "scale", "help_"),
    [
        (np.exp(9 + 2 * NORMAL), 1, "write `scale: 200000`"),
        (30_000 * np.abs(NORMAL), 1000, "write `scale: 20000`"),
        (40_000 * NORMAL, 10_000, "write `scale: 40000`"),
        (0.001 * NORMAL, 1, "write `scale: 0.001`"),
        (1e-6 * NORMAL, 1, "write `scale: 0.000001`"),
        (NORMAL, 1000, "write `scale: 1`"),
        (5 + NORMAL, 1, "write `scale: 5`"),
        (1e6 + NORMAL, 1, "subtract 1e+06 when you prepare the data, and write `scale: 1`"),
    ],
)
def test_a_regression_on_another_scale(
    tmp_path: Path, label: Any, scale: float, help_: str
) -> None:
    tasks = f"{{y: {{}}, t: {{kind: regression, label: ms, scale: {scale}}}}}"
    (one,) = found(tmp_path, "f: {id: {vocab: 2}, dim: 4}", tasks, f=Y, ms=label)
    assert (one.rule.code, one.help) == ("HS516", help_)


@pytest.mark.parametrize(
    ("label", "scale", "loss"),
    [
        (NORMAL, 1, "squared"),
        (NORMAL * 2.5e4, 1e4, "squared"),
        (NORMAL + 2, 1, "squared"),
        (NORMAL * 9e4, 1e4, "huber"),
        (NORMAL * 9e4, 1e4, "absolute"),
    ],
)
def test_a_regression_on_a_good_scale(tmp_path: Path, label: Any, scale: float, loss: str) -> None:
    tasks = f"{{y: {{}}, t: {{kind: regression, label: ms, scale: {scale}, loss: {loss}}}}}"
    assert found(tmp_path, "f: {id: {vocab: 2}, dim: 4}", tasks, f=Y, ms=label) == []


def test_the_deviation_of_a_label_far_from_0(tmp_path: Path) -> None:
    tasks = "{y: {}, t: {kind: regression, label: ms}}"
    label = (1e4 + NORMAL).astype(np.float32)
    data = measured(tmp_path, "f: {id: {vocab: 2}, dim: 4}", tasks, f=Y, ms=label)
    task = data.train.tasks["t"]
    assert task.deviation == pytest.approx(float(label.astype(np.float64).std()), rel=1e-9)


# ---------------------------------------------------------------- fitted boundaries


ZEROS = np.where(np.arange(ROWS) < 960, 0, np.arange(ROWS) - 900)


def test_quantiles_of_a_column_of_zeros(tmp_path: Path) -> None:
    data = measured(tmp_path, "f: {bucketize: {quantiles: 32}, dim: 4}", f=ZEROS)
    assert not check(data)
    assert data.train.fitted["f"].buckets == 32


def test_quantiles_of_too_few_numbers(tmp_path: Path) -> None:
    features = "f: {bucketize: {quantiles: 32}, dim: 4}"
    data = measured(tmp_path, features, f=np.arange(ROWS) % 5)
    (one,) = check(data)
    assert (one.rule.code, one.rule.severity.value) == ("HS517", "note")
    assert "`f` has 5 different numbers, too few for 32 quantiles" in one.message
    assert one.help == "write `quantiles: 5`"
    mended = measured(tmp_path, features.replace("32", "5"), f=np.arange(ROWS) % 5)
    assert not check(mended)
    assert mended.train.fitted["f"].boundaries == (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("quantiles", "numbers"),
    [
        (32, np.arange(ROWS)),
        (2, ZEROS),
        (8, np.arange(ROWS) % 5),  # five of eight buckets
        (32, np.where(np.arange(ROWS) < 400, 0, np.arange(ROWS))),
        (32, np.repeat(1.0, ROWS)),  # constant: HS506 says so
    ],
)
def test_quantiles_that_leave_enough(tmp_path: Path, quantiles: int, numbers: Any) -> None:
    features = f"f: {{bucketize: {{quantiles: {quantiles}}}, dim: 4}}"
    assert "HS517" not in codes(found(tmp_path, features, f=numbers))


def test_quantiles_of_events_are_those_that_training_fits(tmp_path: Path) -> None:
    """The latest events, and of these the ones whose first field is there."""
    features = (
        "h: {sequence: {of: [row], with: {ms: {bucketize: {quantiles: 4}, dim: 4}}, max_len: 3,"
        " encoder: mean}}"
    )
    events = [[1, 2, None, 4]] * ROWS
    data = measured(tmp_path, features, h_row=events, h_ms=[[9.0, 1.0, 2.0, 3.0]] * ROWS)
    assert data.train.fitted["h.ms"].boundaries == (3.0, 3.0, 3.0)
    uneven = measured(tmp_path, features, h_row=events, h_ms=[[1.0]] * ROWS)
    assert uneven.train.fitted == {}
    assert "HS502" in codes(check(uneven))


# ---------------------------------------------------------------- where findings point

PLACES = {
    "{sequence: {of: [v], with: {ms: {bucketize: [1], dim: 4}}, max_len: 2, encoder: mean,"
    " columns: {v: h, ms: h_ms}}}": ("h", "h_ms"),
    "{sequence: {of: [v], with: {ms: {bucketize: [1], dim: 4}}, max_len: 2, encoder: mean,"
    " columns: {v: h}}}": ("h", "ms"),
    "{sequence: {of: [v], with: {ms: {bucketize: [1], dim: 4}}, max_len: 2, encoder: mean}}":
    ("s", "ms"),
}  # fmt: skip
"""What findings on the two columns of a sequence point at."""


@pytest.mark.parametrize("sequence", PLACES)
def test_findings_on_a_sequence_point_at_the_column(tmp_path: Path, sequence: str) -> None:
    cut = {"h": [[1, 2, 3]] * ROWS, "s_v": [[1, 2, 3]] * ROWS}
    cut |= {"h_ms": [[1.0, 2, 3]] * ROWS, "s_ms": [[1.0, 2, 3]] * ROWS}
    features = f"v: {{id: {{buckets: 100}}, dim: 4}}\n  s: {sequence}"
    data = measured(tmp_path, features, v=np.arange(ROWS) % 90, **cut)
    spans = [d.span for d in check(data) if d.rule.code == "HS510"]
    text = data.document.text.splitlines()
    shown = [text[s.start.line - 1][s.start.column - 1 : s.end.column - 1] for s in spans]
    assert tuple(shown) == PLACES[sequence]


# ---------------------------------------------------------------- padded lists


SEQUENCE = (
    "v: {id: {buckets: 1000}, dim: 4}\n"
    "  h: {sequence: {of: [v], max_len: 8, encoder: mean, columns: {v: h}}}"
)
SIZES = RANDOM.integers(0, 6, ROWS)
EVENTS = [RANDOM.integers(1, 90, size).tolist() for size in SIZES]


def lists(tmp_path: Path, column: Any, csv: bool = False) -> list[Diagnostic]:
    return found(tmp_path, SEQUENCE, csv=csv, v=np.arange(ROWS) % 90, h=column)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[*e, *[0] * (8 - len(e))] for e in EVENTS], "(100%) lists in `h` end in `0` repeated"),
        ([[*[0] * (8 - len(e)), *e] for e in EVENTS], "lists in `h` begin in `0` repeated"),
        ([[*map(str, e), *["PAD"] * (8 - len(e))] for e in EVENTS], "end in `PAD` repeated"),
        ([[*e, *[999] * max(0, 3 - len(e))] for e in EVENTS], "end in `999` repeated"),
        ([" ".join(map(str, [*e, *[0] * (8 - len(e))])) for e in EVENTS], "end in `0` repeated"),
    ],
)
def test_padding(tmp_path: Path, column: Any, message: str) -> None:
    (one,) = lists(tmp_path, column)
    assert one.rule.code == "HS518"
    assert message in one.message
    events = sum(map(len, EVENTS))
    if "`0`" in message:
        in_runs = sum(8 - len(e) for e in EVENTS)
        share = f"{in_runs:,} of {events + in_runs:,} ({100 * in_runs / (8 * ROWS):.0f}%) events"
        assert one.message.endswith(f"looks like padding: {share}")


@pytest.mark.parametrize(
    "column",
    [
        EVENTS,
        [[*e, *[None] * (8 - len(e))] for e in EVENTS],
        [[*e, *[-1] * (8 - len(e))] for e in EVENTS],
        [RANDOM.integers(0, 3, 8).tolist() for _ in range(ROWS)],  # few values, anywhere
        [[*e, 7] for e in EVENTS],  # one hit at the end of all
        [None] * ROWS,
        [[]] * ROWS,
    ],
)
def test_no_padding(tmp_path: Path, column: Any) -> None:
    assert "HS518" not in codes(lists(tmp_path, column))


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=6),
    st.booleans(),
)
def test_runs(events: list[list[int]], at_end: bool) -> None:
    """Against each list by itself."""
    run = Run(at_end)
    sizes = np.array([len(each) for each in events])
    flat = [value for each in events for value in each]
    run.add(np.array(flat), np.cumsum(sizes), sizes, pa.array(flat))
    ordered = [each[::-1] if at_end else each for each in events]
    assert run.lists == len(events)
    starts = [each[0] for each in ordered if len(each) > 1 and each[0] == each[1]]
    if not starts:
        assert run.value is None
        return
    assert starts.count(run.value) == max(map(starts.count, starts))  # type: ignore[arg-type]
    assert run.example == str(run.value)
    lengths = [
        next((i for i, value in enumerate(each) if value != run.value), len(each))
        for each in ordered
    ]
    assert run.repeated == sum(length > 1 for length in lengths)
    assert run.events == sum(length for length in lengths if length > 1)
    assert run.inside == sum(
        each.count(run.value) > length for each, length in zip(ordered, lengths, strict=True)
    )


# ---------------------------------------------------------------- other separators


@pytest.mark.parametrize(
    "mark", ["|", "^", "#", ":", "~", "&", "/", "-", "_", "+", ".", "\x01", "，"]
)
@pytest.mark.parametrize("csv", [False, True])
def test_other_separators(tmp_path: Path, mark: str, csv: bool) -> None:
    (one,) = lists(tmp_path, [mark.join(map(str, e)) or None for e in EVENTS], csv)
    assert one.rule.code == "HS519"
    assert f"with {mark!r} inside, such as " in one.message
    assert "have one element" in one.message


@pytest.mark.parametrize(
    "words",
    [
        [f"{i}" for i in range(50)],
        [f"2022-05-{i:02}" for i in range(1, 30)],
        [f"{i}.5" for i in range(50)],
        [f"10:{i:02}:00" for i in range(50)],
        [f"video_{i}" for i in range(50)],
        [f"big-video_{i}" for i in range(50)],
    ],
)
def test_single_events_that_hold_a_mark(tmp_path: Path, words: list[str]) -> None:
    assert "HS519" not in codes(lists(tmp_path, ids(words)))


@pytest.mark.parametrize("mark", [" ", ",", ";", ", ", "\t"])
def test_known_separators(tmp_path: Path, mark: str) -> None:
    assert codes(lists(tmp_path, [mark.join(map(str, e)) for e in EVENTS])) == []


# ---------------------------------------------------------------- lists of the candidate

TAGS = "tags: {id: {buckets: 100}, dim: 4, list: {max_len: 8, pool: POOL, weights: scores}}"


def tags(tmp_path: Path, pool: str, low: float) -> list[Diagnostic]:
    scores = [[low + 1] * size for size in SIZES]
    scores[next(i for i, size in enumerate(SIZES) if size)][0] = low
    return found(tmp_path, TAGS.replace("POOL", pool), tags=EVENTS, scores=scores)


def test_negative_weights_of_a_mean(tmp_path: Path) -> None:
    (one,) = tags(tmp_path, "mean", -0.5)
    assert one.rule.code == "HS523"
    assert one.message.endswith(
        "`scores` has the weight -0.5, and a mean divides by the sum of the weights"
    )
    assert one.span.start.line == 6
    assert tags(tmp_path, "sum", -0.5) == tags(tmp_path, "mean", 0.5) == []


def test_a_list_and_its_weights_are_of_one_length(tmp_path: Path) -> None:
    scores = [[1.0] * size for size in SIZES]
    scores[3] = [1.0] * 9
    (one,) = found(tmp_path, TAGS.replace("POOL", "sum"), tags=EVENTS, scores=scores)
    assert one.rule.code == "HS502"
    assert "values in `tags` and 9 in `scores`; a list and its weights" in one.message


# ---------------------------------------------------------------- sample weights


def weighed(tmp_path: Path, weights: Any, csv: bool = False, **columns: Any) -> list[Diagnostic]:
    return found(tmp_path, "f: {dense: 1}", "{y: {sample_weight: w}}", csv, f=RANDOM.random(ROWS),
                 w=weights, **columns)  # fmt: skip


@pytest.mark.parametrize("csv", [False, True])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (-0.5, "holds the weight -0.5; weights are 0 or more"),
        (None, "lacks the weight of a row; write 0 if a row should not count"),
        (float("inf"), "holds the weight inf; weights are at most 1e+30: divide all of them"),
        (1e38, r"holds the weight 1e+38; weights are at most 1e+30: divide all of them"),
        (1e-40, "holds the weight 1e-40; weights are 0, or at least 1e-30"),
        (1e-50, "holds the weight 1e-50; weights are 0, or at least 1e-30"),
        ("many", "holds the text 'many', not numbers"),
    ],
)
def test_unusable_weights_are_named_with_their_row(
    tmp_path: Path, value: Any, reason: str, csv: bool
) -> None:
    weights: list[Any] = [1.0] * ROWS
    weights[7] = value
    if isinstance(value, str):
        weights = [str(weight) for weight in weights]
    (diagnostic,) = weighed(tmp_path, weights, csv)
    assert diagnostic.rule.code == "HS527"
    assert "row 7 (from 0): the column `w` " + reason in diagnostic.message


def test_a_column_of_weights_that_is_not_there(tmp_path: Path) -> None:
    tasks = "{y: {sample_weight: trus}}"
    (diagnostic,) = found(tmp_path, "f: {dense: 1}", tasks, f=RANDOM.random(ROWS), trust=Y)
    assert diagnostic.rule.code == "HS501"
    assert diagnostic.help == "did you mean `trust`?"


@pytest.mark.parametrize(
    ("label", "column"), [("is-click > 0", "is-click"), ("watch-time > 0.5", "watch-time")]
)
def test_a_column_of_several_words_is_taken_apart(tmp_path: Path, label: str, column: str) -> None:
    columns: dict[str, Any] = {"f": RANDOM.random(ROWS), "is-click": Y, "watch-time": Y}
    all_found = found(tmp_path, "f: {dense: 1}", f"{{y: {{label: {label}}}}}", **columns)
    assert {one.rule.code for one in all_found} == {"HS501"}
    remedy = f"did you mean `{column}`? In a label, write such a name in backticks: '`{column}`'"
    assert str(all_found[0].help).startswith(remedy)


def test_rows_that_all_have_weight_0_are_reported(tmp_path: Path) -> None:
    (diagnostic,) = weighed(tmp_path, np.zeros(ROWS))
    assert diagnostic.rule.code == "HS509"
    assert "the label of `y` is never known, or the row's weight is 0" in diagnostic.message


def test_a_few_heavy_rows_are_reported(tmp_path: Path) -> None:
    assert codes(weighed(tmp_path, RANDOM.random(ROWS))) == []
    heavy = np.where(np.arange(ROWS) < 20, 1000.0, 1.0)
    (diagnostic,) = weighed(tmp_path, heavy)
    assert diagnostic.rule.code == "HS528"
    assert "1,000 rows are worth only 22 of equal weight" in diagnostic.message


def test_rates_are_those_of_weighted_rows(tmp_path: Path) -> None:
    """A rate starts the bias of a tower, and weights move where it should start."""
    weights = np.where(Y == 1, 3.0, 1.0)
    weights[:100] = 0.0
    tasks = "{y: {sample_weight: w}}"
    data = measured(tmp_path, "f: {dense: 1}", tasks, f=RANDOM.random(ROWS), w=weights)
    task, own = data.train.tasks["y"], Y[100:]
    assert task.samples == 900
    assert task.positives == own.sum()
    assert task.rate == pytest.approx(np.average(own, weights=weights[100:]))


def test_positives_outside_of_a_space_that_counts_are_not_lost(tmp_path: Path) -> None:
    """`outside_weight` trains on them."""
    columns = {"f": RANDOM.random(ROWS), "buy": RANDOM.integers(0, 2, ROWS)}
    for more, expected in (("", ["HS505"]), (", outside_weight: 0.1", [])):
        tasks = f"{{y: {{}}, buy: {{where: y{more}}}}}"
        assert codes(found(tmp_path, "f: {dense: 1}", tasks, **columns)) == expected


# ---------------------------------------------------------------- sessions


def ranked(tmp_path: Path, requests: Any, tasks: str = "", **columns: Any) -> list[Diagnostic]:
    tasks = tasks or "{y: {within: {column: request}}}"
    columns = {"f": RANDOM.random(ROWS), "request": requests} | columns
    return found(tmp_path, "f: {dense: 1}", tasks, **columns)


def test_sessions_next_to_each_other_are_fine(tmp_path: Path) -> None:
    assert codes(ranked(tmp_path, np.arange(ROWS) // 10)) == []


def test_scattered_sessions_are_reported(tmp_path: Path) -> None:
    (one,) = ranked(tmp_path, np.arange(ROWS) % 100)
    assert one.rule.code == "HS530"
    assert "the rows of 100% of the sessions are not next to each other" in one.message
    assert one.help == "sort the rows by `request` when you prepare the data"


def test_sessions_without_rows_to_compare_are_reported(tmp_path: Path) -> None:
    """Of one row each, or with a label that all rows of a session share."""
    (one,) = ranked(tmp_path, [f"r{row}" for row in range(ROWS)])
    assert one.rule.code == "HS531"
    assert "0 of 1,000 (0.00%) rows of `y` have one with the other label" in one.message


def test_rows_of_weight_0_and_outside_of_a_space_are_not_compared(tmp_path: Path) -> None:
    """Only positives count here, so that there is none of the other label."""
    for extra, columns in (("sample_weight: w", {"w": Y}), ("where: z", {"z": Y})):
        tasks = f"{{z: {{}}, y: {{within: {{column: request}}, {extra}}}}}"
        own = ranked(tmp_path, np.arange(ROWS) // 10, tasks, **{"z": 1 - Y, **columns})
        assert "HS531" in codes(own), extra


def test_a_column_of_sessions_that_is_not_there(tmp_path: Path) -> None:
    (one,) = ranked(tmp_path, np.arange(ROWS) // 10, "{y: {within: {column: reqest}}}")
    assert one.rule.code == "HS501"
    assert one.help == "did you mean `request`?"
