"""The measurement of serving: its pieces, and the table that is made of them."""

from __future__ import annotations

from typing import Any

import pytest
import serving
import tables
import user_features

import homespec


def result(threads: int, *batches: int, ms: float = 1.0) -> dict[str, Any]:
    """What bench keeps, in which everything of ours is four times as fast as plain code."""
    cases = []
    for batch in batches:
        times = {"naive": [4 * ms, 4 * ms], "ours-aotinductor": [ms, ms]}
        faster = {"naive": {"median": 4.0, "low": 4.0, "high": 4.0}}
        cases.append({
            "threads": threads, "batch": batch, "times": {"inference": times},
            "times_as_fast": {"inference": {"naive": {"ours-aotinductor": faster["naive"]}}},
            "milliseconds": {"inference": {"ours-aotinductor": {"median": ms}}},
            "p99": {"inference": {"ours-aotinductor": 2 * ms}},
        })  # fmt: skip
    settings = {"batches": [*batches], "threads": [threads]}
    return {"settings": settings, "cases": cases, "complete": True}


def test_pieces_are_put_together_in_order() -> None:
    whole: dict[str, Any] = {}
    for piece in (result(2, 1, 64), result(1, 64), result(1, 1)):
        whole = serving.merged(whole, piece)
    assert [(c["threads"], c["batch"]) for c in whole["cases"]] == [
        (1, 1),
        (1, 64),
        (2, 1),
        (2, 64),
    ]
    assert whole["settings"] == {"batches": [1, 64], "threads": [1, 2]}


def test_a_piece_takes_the_place_of_an_earlier_one() -> None:
    whole = serving.merged(result(1, 1, 8, ms=1.0), result(1, 8, ms=1 / 3))
    times = [case["times"]["inference"]["ours-aotinductor"][0] for case in whole["cases"]]
    assert times == [1.0, 0.3333]


def test_the_table_has_a_line_for_each_case() -> None:
    whole = result(1, 1, 8)
    whole["cases"][0]["times"]["inference"]["ours-onnxruntime"] = [3.0, 3.0]
    titles, rows = tables.serving(whole)
    assert titles[2:] == ["model.onnx", "model.pt2", "model.pt2 × model.onnx", "p99 / median"]
    assert rows[0] == ["1", "1", "–", "4.00 (4.00–4.00)", "3.00 (3.00–3.00)", "2.00"]
    assert rows[1] == ["1", "8", "–", "4.00 (4.00–4.00)", "–", "2.00"]


def test_what_is_not_measured_says_so() -> None:
    block = "<!-- results: none-such serving -->\nold\n<!-- end -->"
    assert "\nNot measured yet.\n" in tables.filled(block)
    assert "old" not in tables.filled(block)


@pytest.mark.parametrize("case", user_features.CASES)
def test_requests_have_the_user_once(case: str) -> None:
    """Both packages get the same request: 256 columns of v are the user's, with any history."""
    path, overrides = user_features.CASES[case]
    spec = homespec.load(user_features.SPECS / path, overrides)
    assert user_features.columns(spec) == (256, 444 if overrides else 500)
    features = user_features.requests(spec, 3)
    split = {name for name, tensor in features["user"].items() if len(tensor) == 1}
    assert {name.partition(".")[0] for name in split} == set(user_features.of_user(spec))
    for name, tensor in features["rows"].items():
        assert len(tensor) == 3
        assert name not in split or tensor[1].equal(features["user"][name][0])


def test_the_table_of_user_features_has_ratios_of_rounds() -> None:
    case = {"case": "MMoE", "threads": 1, "candidates": 50, "user": 8, "width": 20}
    whole = {"cases": [case | {"times": {"rows": [3.0, 4.0, 5.0], "user": [1.0, 2.0, 2.5]}}]}
    assert tables.user_features(whole)[1] == [["MMoE", "8 of 20", "1", "50", "2.00 (2.00–2.50)"]]
