"""The formats for machines say the same as the text, in the shape that is documented for them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from reports import CASES, FILE, at, error, note, report, warning

from homespec.diagnostics import Report
from homespec.diagnostics.render import render

HERE = Path(__file__).parent
SARIF = json.loads((HERE / "sarif-subset.schema.json").read_text())


def as_json(case: Report, output_format: str) -> Any:
    return json.loads(render(case, output_format))


@pytest.mark.parametrize("output_format", ["json", "gitlab", "sarif", "github"])
def test_golden(output_format: str, golden: Any) -> None:
    golden(HERE / f"{output_format}.out", render(CASES["several"], output_format))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("output_format", ["json", "gitlab", "sarif"])
def test_is_ascii_json(name: str, output_format: str) -> None:
    assert render(CASES[name], output_format).isascii()
    assert as_json(CASES[name], output_format) is not None


def test_json_says_everything() -> None:
    (diagnostic,) = as_json(CASES["one"], "json")["diagnostics"]
    assert diagnostic == {
        "code": "HS901",
        "name": "unknown-thing",
        "severity": "error",
        "message": "thing `x` is unknown",
        "label": "not declared",
        "help": "did you mean `watch`?",
        "span": {
            "file": FILE,
            "start": {"line": 3, "column": 18},
            "end": {"line": 3, "column": 23},
        },
        "related": [],
    }


def test_json_of_nothing() -> None:
    assert as_json(Report(), "json") == {
        "version": 1,
        "summary": {"errors": 0, "warnings": 0, "notes": 0, "files": 0},
        "diagnostics": [],
        "skipped": [],
    }


@pytest.mark.parametrize(
    ("made", "github", "gitlab", "sarif"),
    [
        (error, "error", "major", "error"),
        (warning, "warning", "minor", "warning"),
        (note, "notice", "info", "note"),
    ],
)
def test_each_severity_has_its_word(made: Any, github: str, gitlab: str, sarif: str) -> None:
    case = report(made(at(1, 1, 7)))
    assert render(case, "github").startswith(f"::{github} file=")
    assert as_json(case, "gitlab")[0]["severity"] == gitlab
    (run,) = as_json(case, "sarif")["runs"]
    assert run["results"][0]["level"] == sarif
    assert run["tool"]["driver"]["rules"][0]["defaultConfiguration"]["level"] == sarif
    (diagnostic,) = as_json(case, "json")["diagnostics"]
    assert diagnostic["severity"] == sarif


def test_github_escapes() -> None:
    message = "100% :: wrong,\nreally\r"
    line = render(report(error(at(3, 1, 4), message, help="a,b:c")), "github")
    assert line == (
        "::error file=specs/x.yaml,line=3,endLine=3,col=1,endColumn=4,title=HS901 unknown-thing::"
        "100%25 :: wrong,%0Areally␍%0Ahelp: a,b:c\n"
    )
    line = render(report(error(at(1, 1, 1, "a,b:%c"))), "github")
    (escaped,) = re.findall(
        r"file=([^,]*),", render(report(error(at(1, 1, 1, "a,b:%c"))), "github")
    )
    assert escaped == "a%2Cb%3A%25c"


def test_github_spans_of_several_lines_have_no_end_column() -> None:
    assert "endColumn" not in render(CASES["several lines"], "github")


def test_paths_start_at_the_root_of_the_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "specs").mkdir()
    monkeypatch.chdir(tmp_path / "specs")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    for file in ("x.yaml", str(tmp_path / "specs" / "x.yaml"), "../specs/x.yaml"):
        case = Report.of([error(at(1, 1, 2, file))], {})
        assert "file=specs/x.yaml," in render(case, "github")
        assert as_json(case, "gitlab")[0]["location"]["path"] == "specs/x.yaml"


def test_gitlab_fingerprints_survive_moving() -> None:
    before = as_json(report(error(at(1, 1, 2)), error(at(4, 1, 2))), "gitlab")
    after = as_json(report(error(at(2, 5, 6)), error(at(9, 1, 2))), "gitlab")
    marks = [issue["fingerprint"] for issue in before]
    assert marks == [issue["fingerprint"] for issue in after]
    assert len(set(marks)) == 2


def test_gitlab_issue() -> None:
    (issue,) = as_json(report(warning(at(3, 1, 2), help="go")), "gitlab")
    assert issue.pop("fingerprint")
    assert issue == {
        "description": "thing `x` is alone\nhelp: go",
        "check_name": "HS951 lonely-thing",
        "severity": "minor",
        "location": {"path": FILE, "lines": {"begin": 3, "end": 3}},
    }


@pytest.mark.parametrize("name", CASES)
def test_sarif_is_valid(name: str) -> None:
    sarif = as_json(CASES[name], "sarif")
    jsonschema.validate(sarif, SARIF)
    (run,) = sarif["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted({rule["id"] for rule in rules})
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_sarif_addresses() -> None:
    files = {"specs/é x.yaml": "specs/%C3%A9%20x.yaml", "/etc/x.yaml": "file:///etc/x.yaml"}
    for file, uri in files.items():
        (run,) = as_json(Report.of([error(at(1, 1, 2, file))], {}), "sarif")["runs"]
        (location,) = run["results"][0]["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_sarif_rules_explain() -> None:
    (run,) = as_json(CASES["one"], "sarif")["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["shortDescription"]["text"] == "A thing is not declared."
    assert "```yaml" in rule["help"]["markdown"]
