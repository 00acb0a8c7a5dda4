"""`homespec new --from`: days as text, whichever of their parts comes first."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from made_tables import ROWS, log, new

from homespec.drafting.days import keys, order_of

DAYS = [date(2024, 9, 3) + timedelta(days=number) for number in range(120)]
FORMS = {
    "9/03/2024": lambda day: f"{day.month}/{day.day:02}/{day.year}",
    "03.09.2024": lambda day: f"{day.day:02}.{day.month:02}.{day.year}",
    "2024-9-3": lambda day: f"{day.year}-{day.month}-{day.day}",
    "9/3/2024 1:05 PM": lambda day: f"{day.month}/{day.day}/{day.year} 1:05 PM",
}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_the_latest_days_are_held_out(tmp_path: Path, form: str) -> None:
    """In no order of their characters; the rows come shuffled."""
    own = np.random.default_rng(0).integers(0, len(DAYS), ROWS)
    texts = [FORMS[form](DAYS[place]) for place in own]
    rows = log().drop_columns(["date"]).append_column("day", pa.array(texts))
    pc.write_csv(rows.drop_columns(["tags", "hist_video_id", "embedding"]), "log.csv")
    result = new(Path("log.csv"), "--split", "prepared")
    assert result.exit_code == 0, result.output
    assert "the rows from `day`" in result.output
    valid = pq.read_table("prepared/valid.parquet")["day"].to_pylist()
    places = {text: DAYS[place] for text, place in zip(texts, own, strict=True)}
    assert 0.05 * ROWS < len(valid) < 0.2 * ROWS
    first = min(places[text] for text in valid)
    assert sorted(valid) == sorted(t for t, day in places.items() for _ in range(texts.count(t))
                                   if day >= first)  # fmt: skip
    text = (tmp_path / "specs/t.yaml").read_text()
    assert f'day: a time, "{FORMS[form](DAYS[0])}" to "{FORMS[form](DAYS[-1])}"' in " ".join(
        text.replace("#", "").split()
    )


def test_what_the_texts_do_not_tell_is_not_guessed() -> None:
    """Months and days of 12 at most; both above 12; two time zones; other text."""
    assert order_of(["1/2/2024", "12/11/2024"]) is None
    assert order_of(["13/2/2024", "2/13/2024"]) is None
    assert order_of(["2024-01-02 10:00 +01:00", "2024-01-03 10:00 +02:00"]) is None
    assert order_of(["2024-01-02", "soon"]) is None
    assert order_of([]) is None
    assert order_of(["2024-01-02T10:00Z", "2024-02-01T10:00Z"]) == "ymd"


def test_times_of_a_day_are_in_order() -> None:
    texts = pa.array(["9/3/2024 12:10 AM", "9/3/2024 1:10 am", "9/3/2024 12:00 PM",
                      "9/3/2024 11:59:30 PM", "9/4/2024", None, "later"])  # fmt: skip
    found = keys(texts, "mdy")
    assert (np.diff(found[:5]) > 0).all()
    assert np.isnan(found[5:]).all()
