"""Standard streams that are closed, full or read no further: the exit code says what was found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOOD = """\
homespec: 1
name: good
features: {user_id: {id: {buckets: 100}, dim: 8}, asr: {dense: 128}}
groups: {watch: [click, finish], social: [like, follow]}
tasks: {click: {}, finish: {}, like: {}, follow: {}}
"""
CLOSED_OUT, CLOSED_ERR, FULL_OUT, FULL_ERR = ">&-", "2>&-", ">/dev/full", "2>/dev/full"
PRINTING = ("show good.yaml", "graph good.yaml", "compile --stdout good.yaml", "schema", "--help")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_text(GOOD.replace("like, follow", "like, folow"))


def shell(command: str, before: str = "", after: str = "") -> tuple[int, str]:
    """Exit code of `homespec COMMAND` in a shell, and all that is printed."""
    line = f"{before} {sys.executable} -m homespec {command} {after}"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert "Traceback" not in result.stdout
    assert "mistake in homespec" not in result.stdout
    return result.returncode, result.stdout


@pytest.mark.parametrize(
    "streams", [CLOSED_OUT, CLOSED_ERR, FULL_ERR, f"{CLOSED_OUT} {CLOSED_ERR}"]
)
def test_a_sound_spec_passes(streams: str) -> None:
    assert shell("validate good.yaml", after=streams)[0] == 0


def test_nothing_to_print_is_nothing_lost() -> None:
    assert shell("validate good.yaml --quiet", after=FULL_OUT) == (0, "")


@pytest.mark.parametrize(
    ("streams", "reason"),
    [(CLOSED_OUT, "Bad file descriptor"), (FULL_OUT, "No space left on device")],
)
def test_findings_that_cannot_be_printed_fail(streams: str, reason: str) -> None:
    wanted = f"error: cannot write to stdout: {reason}\n"
    assert shell("validate bad.yaml", after=f"2>&1 {streams}") == (1, wanted)


@pytest.mark.parametrize("command", PRINTING)
@pytest.mark.parametrize("streams", [CLOSED_OUT, FULL_OUT])
def test_a_result_that_cannot_be_printed_is_trouble(command: str, streams: str) -> None:
    code, output = shell(command, after=f"2>&1 {streams}")
    assert code == 2
    assert output.startswith("error: cannot write to stdout: ")
    assert output.count("\n") == 1


@pytest.mark.parametrize("command", PRINTING)
def test_a_reader_that_has_seen_enough(command: str) -> None:
    assert shell(command, after="| true") == (0, "")


def test_findings_count_though_nobody_reads_on() -> None:
    assert shell("validate bad.yaml", after="| true") == (1, "")


def test_work_is_done_though_nobody_hears_of_it() -> None:
    assert shell("compile good.yaml", after=f"{CLOSED_ERR} | true")[0] == 0
    assert Path("generated/good.py").is_file()
    Path("generated/good.py").unlink()
    code, output = shell("compile good.yaml", after=f"2>&1 {FULL_OUT}")
    assert (code, output) == (2, "error: cannot write to stdout: No space left on device\n")
    assert Path("generated/good.py").is_file()


def test_closed_stdin() -> None:
    code, output = shell("validate -", after="<&-")
    assert code == 1
    assert "error[HS001]" in output
    assert shell("validate good.yaml", after="<&-")[0] == 0


def test_files_do_not_get_what_is_printed() -> None:
    """A file that is opened while stdout is closed must not become it."""
    shell("compile good.yaml", after=f"<&- {CLOSED_OUT} {CLOSED_ERR}")
    assert "wrote" not in Path("generated/good.py").read_text()


def test_text_through_the_guarded_streams() -> None:
    line = "printf 'name: é\\n' |"
    code, output = shell("validate -", before=line)
    assert code == 1
    assert "name: é" in output


def test_process_substitution_is_read() -> None:
    assert shell("validate <(cat good.yaml)") == (0, "1 file checked, nothing found\n")
    assert shell("validate /dev/stdin", before="cat good.yaml |")[0] == 0
