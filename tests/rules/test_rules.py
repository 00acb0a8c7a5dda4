"""Every rule has a spec that breaks it, with the exact output, and a twin on which all is silent.

`err/HS007-duplicate-key.yaml` breaks the rule; `err/HS007-duplicate-key.out` is what
`homespec validate --format full` prints inside of that folder; `ok/HS007-duplicate-key.yaml` is the
same spec mended. Further cases are named `HS007-duplicate-key.nested.yaml`. After a change of the
wording: `pytest tests/rules --update-golden`, then review `git diff`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from homespec.catalogue import all_rules
from homespec.cli.main import cli
from homespec.diagnostics import Rule, Severity
from homespec.diagnostics.registry import CHECKS

HERE = Path(__file__).parent
ERR = sorted((HERE / "err").glob("*.yaml"))
OK = sorted((HERE / "ok").glob("*.yaml"))

NOT_A_YAML_FILE = {
    "HS001": "tests/source/test_unreadable.py: the file is missing",
    "HS002": "tests/source/test_unreadable.py: the file is no text",
    "HS004": "tests/source/test_unreadable.py: the file has more than 1 MiB",
    "HS022": "tests/source/test_extends.py: a flag of the command line",
    "HS024": "tests/source/test_roots.py: the file is a link",
}
"""Rules that no small text file can break, and where they are tested instead."""
OF_OTHERS = ("HS5", "HS6", "HS7")
"""So are those that look at data, at changes or at trained models: tests/data/test_check.py,
tests/diff/test_changes.py and tests/doctor/test_planted.py hold a pair for each of them."""


def validate(path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, str]:
    """Exit code and output of `homespec validate` in the folder of `path`."""
    monkeypatch.chdir(path.parent)
    args = ["validate", path.name, "--format", "full", *options]
    result = CliRunner().invoke(cli, args, standalone_mode=False, catch_exceptions=False)
    return result.return_value, result.stdout


def rule_of(path: Path) -> str:
    """`HS007-duplicate-key`, of a file that may name a further case behind a dot."""
    return path.name.split(".")[0]


@pytest.mark.parametrize("path", ERR, ids=lambda path: path.stem)
def test_broken(
    path: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[[Path, str], None]
) -> None:
    code, output = validate(path, monkeypatch)
    rule = all_rules()[path.name[:5]]
    assert f"{rule.severity}[{rule.code}] {rule.name}: " in output
    assert code == (1 if "error[" in output else 0)
    golden(path.with_suffix(".out"), output)


@pytest.mark.parametrize("path", OK, ids=lambda path: path.stem)
def test_mended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert validate(path, monkeypatch, "--strict") == (0, "")


def test_each_check_takes_one_argument() -> None:
    """The resolved spec, or the lowered one with its graph; rules on comments take the comment."""
    for code, check in CHECKS.items():
        if check.__module__.startswith("homespec.checks."):
            (parameter,) = inspect.signature(check).parameters.values()
            assert parameter.annotation in ("Resolved", "Lowered", "Ignore"), code


@pytest.mark.parametrize("rule", all_rules().values(), ids=lambda rule: rule.code)
def test_every_rule_has_both(rule: Rule) -> None:
    if rule.code in NOT_A_YAML_FILE or rule.code.startswith(OF_OTHERS):
        return
    name = f"{rule.code}-{rule.name}"
    assert name in map(rule_of, ERR), f"tests/rules/err/{name}.yaml is missing"
    assert name in map(rule_of, OK), f"tests/rules/ok/{name}.yaml is missing"


def test_no_stray_files() -> None:
    rules = {f"{rule.code}-{rule.name}" for rule in all_rules().values()}
    assert {rule_of(path) for path in [*ERR, *OK]} <= rules
    assert {path.stem for path in OK} == {path.stem for path in ERR}
    assert {path.stem for path in (HERE / "err").glob("*.out")} == {path.stem for path in ERR}


@pytest.mark.parametrize("path", ERR, ids=lambda path: path.stem)
def test_remedies(path: Path) -> None:
    """Errors say how to mend them; which is also in `homespec explain`."""
    rule = all_rules()[path.name[:5]]
    if rule.severity is Severity.ERROR:
        assert "= help: " in path.with_suffix(".out").read_text(encoding="utf-8")
