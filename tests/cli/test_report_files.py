"""Reports that would replace what a command reads."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from homespec.cli.doctor import _write, doctor
from homespec.cli.evaluate import evaluate


@pytest.mark.parametrize(
    ("verb", "flag"), [(doctor, "--json"), (doctor, "--html"), (evaluate, "--json")]
)
@pytest.mark.parametrize("name", ["valid.parquet", "valid.CSV", "spec.yaml", "model.safetensors"])
def test_what_is_read_is_not_replaced(
    verb: click.Command, flag: str, name: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_text("kept")
    found = CliRunner().invoke(verb, [str(tmp_path), "--data", str(file), flag, str(file)])
    assert found.exit_code == 2
    assert "the report would replace it" in found.output
    assert file.read_text() == "kept"


def test_a_report_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        _write(tmp_path / "file" / "report.html", "")
    assert ended.value.code == 2
    assert "report.html cannot be written" in capsys.readouterr().err
