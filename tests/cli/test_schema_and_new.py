"""`homespec schema` and `homespec new`, and that everything generated in the project is fresh."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

import homespec
from homespec.cli.compile import compile as compile_command
from homespec.cli.new import new
from homespec.cli.schema import schema
from homespec.health.as_json import json_schema as doctor_schema
from homespec.schema.editor_schema import json_schema

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted((ROOT / "specs").glob("*.yaml"))


def run(command: object, *args: str) -> Result:
    return CliRunner().invoke(command, args, standalone_mode=False)  # type: ignore[arg-type]


def test_the_project_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert run(schema, "--check").return_value == 0
    assert run(compile_command, "--check", "specs").return_value == 0


def test_shipped_specs_are_complete() -> None:
    assert {"quickstart", "kuairand", "nested", "industrial"} <= {path.stem for path in SPECS}
    assert len((ROOT / "specs/quickstart.yaml").read_text().splitlines()) < 15
    assert len(homespec.load(ROOT / "specs/kuairand.yaml").tasks) == 10
    industrial = homespec.load(ROOT / "specs/industrial.yaml")
    assert (len(industrial.tasks), len(industrial.groups)) == (24, 4)
    assert sum(feature.width for feature in industrial.features.values()) == 2048


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_specs_carry_the_modeline_and_fit_the_json_schema(path: Path) -> None:
    text = path.read_text()
    modeline = "# yaml-language-server: $schema=../schemas/homespec-v1.schema.json\n"
    assert text.startswith(modeline)
    jsonschema.validate(yaml.safe_load(text), json_schema())
    assert homespec.validate(path).diagnostics == ()


@pytest.mark.parametrize(
    "change",
    [
        {"experts": {"meta": {"shard": 4}}},
        {"gates": {"self": "on"}},
        {"homespec": 2},
        {"towers": {"hidden": 64}},
        {"experts": {"norm": "bach"}},
    ],
)
def test_the_json_schema_rejects_what_the_compiler_rejects(change: dict[str, object]) -> None:
    spec = yaml.safe_load((ROOT / "specs/quickstart.yaml").read_text()) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec, json_schema())
    with pytest.raises(homespec.SpecError):
        homespec.loads(yaml.safe_dump(spec))


def test_schema_is_written_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "schemas" / "x.json"
    assert "is missing" in run(schema, "--check", "-o", str(file)).output
    assert run(schema, "-o", str(file)).output.startswith("wrote ")
    assert json.loads(file.read_text()) == json_schema()
    file.write_text("{}")
    result = run(schema, "--check", "-o", str(file))
    assert (result.return_value, "is stale" in result.output) == (1, True)


def test_new_writes_a_spec_that_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    output = run(new, "feed").output
    assert output.startswith("wrote specs/feed.yaml and schemas/homespec-v1.schema.json, which")
    assert homespec.validate("specs/feed.yaml").diagnostics == ()
    assert homespec.load("specs/feed.yaml").name == "feed"
    with pytest.raises(Exception, match="already exists"):
        raise run(new, "feed").exception  # type: ignore[misc]
    assert run(new, "feed", "--force").return_value == 0


def test_new_writes_the_schema_that_its_first_line_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(new, "feed")
    first = (tmp_path / "specs/feed.yaml").read_text().splitlines()[0]
    named = tmp_path / "specs" / first.partition("$schema=")[2]
    assert json.loads(named.read_text()) == json_schema()
    assert run(schema, "--check").return_value == 0


def test_new_leaves_a_schema_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schemas").mkdir()
    file = tmp_path / "schemas/homespec-v1.schema.json"
    file.write_text("{}")
    result = run(new, "feed")
    assert "homespec-v1.schema.json is stale: `homespec schema -o schemas/" in result.output
    assert "wrote specs/feed.yaml. Next:\n" in result.output
    assert file.read_text() == "{}"


@pytest.mark.parametrize("name", ["../evil", "a b", "class", "", "ünicode"])
def test_new_refuses_what_is_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match="is not a valid name"):
        raise run(new, name).exception  # type: ignore[misc]
    assert list(tmp_path.iterdir()) == []


def test_the_schema_replaces_no_spec(tmp_path: Path) -> None:
    spec, file = tmp_path / "spec.yaml", tmp_path / "schema.json"
    text = (ROOT / "specs/quickstart.yaml").read_text()
    spec.write_text(text)
    result = run(schema, "-o", str(spec))
    assert "is not a JSON Schema" in str(result.exception)
    assert spec.read_text() == text
    for before in (None, "", '{"$schema": "an older one"}'):
        if before is not None:
            file.write_text(before)
        assert run(schema, "-o", str(file)).return_value == 0
        assert json.loads(file.read_text()) == json_schema()


def test_the_schema_of_what_the_doctor_writes(tmp_path: Path) -> None:
    file = tmp_path / "doctor.json"
    printed = run(schema, "--doctor").stdout
    assert json.loads(printed) == doctor_schema()
    assert run(schema, "--doctor", "-o", str(file)).return_value == 0
    assert file.read_text() == printed
    assert run(schema, "--doctor", "--check", "-o", str(file)).return_value == 0
    file.write_text("{}")
    stale = run(schema, "--doctor", "--check", "-o", str(file))
    assert stale.return_value == 1
    assert f"run `homespec schema --doctor -o {file}`" in stale.stdout
    unnamed = CliRunner().invoke(schema, ["--doctor", "--check"])
    assert unnamed.exit_code == 2
    assert "give -o FILE" in unnamed.output
