"""Bars on stderr: drawn where that is a terminal, and gone at the end."""

from __future__ import annotations

import pytest

from homespec.cli.progress import progress_bars


def test_nothing_is_drawn_where_stderr_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with progress_bars() as begin:
        begin("rows", 10)(10)
    assert capsys.readouterr() == ("", "")


def _fail_after_seven() -> None:
    with progress_bars() as begin:
        advance = begin("rows", 10)
        advance(4)
        advance(3)
        raise ZeroDivisionError


def test_a_bar_is_gone_before_an_error_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    with pytest.raises(ZeroDivisionError):
        _fail_after_seven()
    out, err = capsys.readouterr()
    assert out == ""
    assert "rows" in err
    assert "7/10" in err
    last = err.rpartition("7/10")[2]
    assert "\x1b[2K" in last  # the line is erased
