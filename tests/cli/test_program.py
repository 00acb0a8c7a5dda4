"""The program as a process: exit codes, pipes, colours, what it imports, how fast it is."""

from __future__ import annotations

import os
import pty
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


def run(*args: str, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "homespec", *args],
        input=text,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        check=False,
    )


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["validate", "--help"], 0),
        (["explain", "HS007"], 0),
        (["validate", "-"], 1),
        ([], 2),
        (["validate"], 2),
        (["validate", "-", "--format", "xml"], 2),
        (["valdate", "-"], 2),
        (["--colour"], 2),
        (["explain"], 2),
        (["explain", "no-such-rule"], 2),
    ],
)
def test_exit_codes(args: list[str], code: int) -> None:
    result = run(*args)
    assert result.returncode == code
    assert "Traceback" not in result.stderr


def test_suggestions() -> None:
    assert "Did you mean `validate`?" in run("valdate").stderr
    assert "Did you mean `validate`?" in run("check").stderr
    assert "Did you mean `duplicate-key`?" in run("explain", "duplicate-keys").stderr
    assert "Did you mean `HS00" in run("explain", "HS00").stderr


def test_folder_without_specs(tmp_path: Path) -> None:
    result = run("validate", str(tmp_path))
    assert result.returncode == 2
    assert "contains no *.yaml or *.yml file" in result.stderr


def test_internal_error_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "homespec_broken.py").write_text(
        "import homespec.compiler\n"
        "def broken(document): raise ZeroDivisionError('oh')\n"
        "homespec.compiler.analyse = broken\n"
        "from homespec.cli.main import main\nmain()\n"
    )
    command = [sys.executable, str(tmp_path / "homespec_broken.py"), "validate", "-"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for wanted, shown in (("", False), ("1", True)):
        env["HOMESPEC_TRACEBACK"] = wanted
        result = subprocess.run(command, input=b"a: 1", capture_output=True, env=env, check=False)
        assert result.returncode == (1 if shown else 2)
        assert (b"Traceback" in result.stderr) is shown
        assert b"ZeroDivisionError: oh" in result.stderr


def test_broken_pipe(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("1: 2\n" * 90)
    command = f"{sys.executable} -m homespec validate x.yaml x.yaml | true"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        command, shell=True, cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert result.stderr == b""


def test_plain_text_where_a_character_is_missing() -> None:
    result = run("validate", "-", text="ключ: [\n", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.returncode == 1
    assert "never closed" in result.stdout


def in_terminal(*args: str, **env: str) -> str:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "homespec", *args],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **env},
    )
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 4096):
            parts.append(part)
    except OSError:  # the terminal is gone with the process
        pass
    process.wait()
    os.close(ours)
    return b"".join(parts).decode()


def test_colors_on_a_terminal_only() -> None:
    assert "\x1b[" in in_terminal("validate", "-")
    assert "\x1b[" not in in_terminal("validate", "-", NO_COLOR="1")
    assert "\x1b[" not in run("validate", "-").stdout


IMPORTS = """
import sys
from homespec.cli.main import cli
code = cli.main(["validate", "-"], standalone_mode=False)
heavy = {"torch", "rich", "jinja2", "lightning", "numpy", "pyarrow", "sklearn"} & set(sys.modules)
sys.exit(f"{code} {sorted(heavy)}" if code or heavy else 0)
"""


def test_validate_imports_nothing_heavy() -> None:
    result = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        input=GOOD.encode(),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()


HELP_IMPORTS = """
import sys
from homespec.cli.main import cli
cli.main(["--help"], standalone_mode=False)
heavy = {"pydantic", "networkx", "yaml", "homespec.compiler"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""


def test_help_imports_no_stage() -> None:
    result = subprocess.run(
        [sys.executable, "-c", HELP_IMPORTS],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert b"validate" in result.stdout
