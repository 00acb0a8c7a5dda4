"""Reports that would replace what a command reads."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from homespec.cli.bench import bench
from homespec.cli.doctor import doctor
from homespec.cli.evaluate import evaluate
from homespec.cli.report_files import write_report


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
    assert "which the report would replace" in found.output
    assert file.read_text() == "kept"


def test_a_report_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        write_report(tmp_path / "file" / "report.html", "")
    assert ended.value.code == 2
    assert "report.html cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "flag"),
    [(doctor, "--json"), (doctor, "--html"), (evaluate, "--json"), (bench, "--json"),
     (bench, "--plot")],
)  # fmt: skip
def test_a_place_that_cannot_be_written_to_is_named_first(
    verb: click.Command, flag: str, tmp_path: Path
) -> None:
    """Before the run is loaded, of which there is none here."""
    (tmp_path / "file").write_text("")
    (tmp_path / "spec.yaml").write_text("")
    given = str(tmp_path / "spec.yaml" if verb is bench else tmp_path)
    data = [] if verb is bench else ["--data", "x"]
    found = CliRunner().invoke(verb, [given, *data, flag, str(tmp_path / "file" / "new" / "x")])
    assert found.exit_code == 2
    assert f"Invalid value for '{flag}': " in found.output
    assert f"cannot be written ({tmp_path / 'file'} is not a folder" in found.output


@pytest.mark.parametrize("verb", [doctor, evaluate])
def test_a_report_may_go_to_a_device_whose_folder_is_closed(
    verb: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    given = [str(tmp_path), "--data", "x", "--json", os.devnull]
    found = CliRunner().invoke(verb, given)
    assert "holds no run of homespec train" in found.output


@pytest.mark.parametrize(
    ("verb", "flags"), [(doctor, ("--json", "--html")), (bench, ("--json", "--plot"))]
)
def test_two_reports_are_two_files(
    verb: click.Command, flags: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text("")
    given = str(tmp_path / "spec.yaml" if verb is bench else tmp_path)
    data = [] if verb is bench else ["--data", "x"]
    file = str(tmp_path / "report")
    found = CliRunner().invoke(verb, [given, *data, flags[0], file, flags[1], file])
    assert found.exit_code == 2
    assert f"Invalid value for '{flags[1]}': " in found.output
    assert "is also the file of another argument" in found.output
