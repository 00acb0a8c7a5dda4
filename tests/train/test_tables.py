"""Tables of metrics on a narrow terminal."""

from __future__ import annotations

import pytest

from homespec.train.tables import empty_table, in_units, number, percent, show_tables


def test_a_narrow_terminal_cuts_no_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    table = empty_table(("a_task_with_a_name",), ["AUC", "GAUC"])
    table.add_row("click", "0.7132 [0.6938, 0.7320]", "0.7046 [0.6804, 0.7276]")
    show_tables([table])
    shown = capsys.readouterr().out
    assert "0.7132 [0.6938, 0.7320]  0.7046 [0.6804, 0.7276]" in shown
    assert "…" not in shown


def test_numbers_that_are_not_defined_are_dashes() -> None:
    assert [write(float("nan")) for write in (number, percent, in_units)] == ["–"] * 3
    assert (number(0.5), percent(0.5), in_units(65432.1)) == ("0.5000", "50.00%", "65,432")
