"""`homespec new --from`: columns that are made of the label of a regression are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_tables import ROWS, table, written

RANDOM = np.random.default_rng(3)
SIZE = RANDOM.normal(size=ROWS)
PAID = np.exp(5 + SIZE + 0.5 * RANDOM.normal(size=ROWS))
MADE = {
    "a multiple": (PAID / 100, "in other numbers"),
    "a logarithm": (np.log1p(PAID), "on another scale: rank correlation 1.0000"),
    "falling": (1 / (1 + PAID), "on another scale: rank correlation -1.0000"),
    "nearly": (np.log(PAID) + 1e-3 * RANDOM.normal(size=ROWS), "on another scale"),
    "ten buckets": (np.searchsorted(np.quantile(PAID, np.arange(1, 10) / 10), PAID), "in steps"),
    "a threshold": ((PAID > 400).astype(int), "in steps"),
    "words": (np.array(["small", "medium", "huge"])[(PAID > 90).astype(int) + (PAID > 500)],
              "in steps"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_the_label_is_left_out(tmp_path: Path, name: str) -> None:
    column, reason = MADE[name]
    rows = table(size=SIZE, tier=column, paid=PAID)
    spec = written(tmp_path, rows, "--label", "paid")
    assert [*spec["features"]] == ["size"]
    text = " ".join((tmp_path / "specs/t.yaml").read_text().replace("#", "").split())
    assert f"tier: it is paid {reason}" in text


def test_what_only_goes_with_it_stays(tmp_path: Path) -> None:
    """A cause, a rough bucket with exceptions, a rare flag, and a text for each row's shop."""
    rough = np.where(RANDOM.random(ROWS) < 0.1, RANDOM.integers(0, 2, ROWS), PAID > 200)
    rows = table(
        size=SIZE, rough=rough.astype(int), rare=(np.arange(ROWS) % 100 == 0).astype(int),
        shop=[f"shop {number}" for number in RANDOM.integers(0, 40, ROWS)], paid=PAID,
    )  # fmt: skip
    spec = written(tmp_path, rows, "--label", "paid")
    assert {*spec["features"]} == {"size", "rough", "rare", "shop"}


def test_large_numbers_are_in_full(tmp_path: Path) -> None:
    rows = table(seen=RANDOM.integers(0, 10**11, ROWS), paid=PAID)
    rows = rows.set_column(0, "seen", [[0, 10**11, *RANDOM.integers(0, 10**10, ROWS - 2)]])
    written(tmp_path, rows, "--label", "paid")
    assert "0 to 100,000,000,000" in (tmp_path / "specs/t.yaml").read_text()
