"""The measurement of serving: its pieces, and the table that is made of them."""

from __future__ import annotations

from typing import Any

import serving
import tables


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
