"""The JSON Schema says of a file what `validate` says, as far as one file can show it.

Here by the library jsonschema, which is always there; `test_editor_server.py` asks an editor's
server the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from mutated_specs import LAYERED, RICH, SHIPPED, laid_over, mutated

import homespec
from homespec.analysis.expand import expanded
from homespec.diagnostics import Diagnostic
from homespec.schema import validate
from homespec.schema.editor_schema import json_schema
from homespec.source import Document, parse, with_bases

SCHEMA = jsonschema.Draft202012Validator(json_schema())

UNKNOWABLE = {"HS114", "HS123", "HS125"}
"""Rules of the schema stage that JSON Schema has no words for, as docs/language.md says: numbers
that must ascend or keep a distance from 0; and a warning."""


def complaints(data: Any) -> list[str]:
    """What the schema says against a spec."""
    return [f"{error.json_path}: {error.message[:200]}" for error in SCHEMA.iter_errors(data)]


def verdict(codes: set[str]) -> bool:
    """Whether an editor should mark something, given what `validate` found."""
    return any(code.startswith("HS1") for code in codes - UNKNOWABLE)


def codes_of(spec: dict[str, Any]) -> set[str]:
    """The rules of the source and schema stages that a spec breaks."""
    document = parse(yaml.safe_dump(spec, sort_keys=False), "spec.yaml")
    return {found.rule.code for found in said_by(document)}


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_specs_fit(path: Path) -> None:
    document = parse(path.read_text(), path.name)
    assert complaints(document.data) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_expanded_specs_fit(path: Path) -> None:
    text = expanded(homespec.load(path).analysis)
    assert complaints(parse(text, path.name).data) == []


@pytest.mark.parametrize("text", [RICH, LAYERED])
def test_a_spec_with_everything_fits(text: str) -> None:
    spec = yaml.safe_load(text)
    assert complaints(spec) == []
    assert not homespec.loads(text).analysis.document.diagnostics


def test_mutated_specs_get_the_verdict_of_validate() -> None:
    wrong = []
    marked = 0
    for seed in range(300):
        spec = mutated(seed)
        codes, found = codes_of(spec), complaints(spec)
        marked += bool(found)
        if verdict(codes) != bool(found):
            wrong.append((seed, codes, found))
    assert wrong == []
    assert 30 < 300 - marked < 200


BY_ITSELF = {"HS101", "HS103", "HS104", "HS105", "HS108", "HS109", "HS110"}
"""Rules that look at one value, so that a part of a spec shows whether it keeps them. HS107 does
not: null may take away the last entry."""


def test_specs_that_extend_others_get_the_verdict_of_validate(tmp_path: Path) -> None:
    """No complaint about what becomes sound with the base; one about each value that is wrong."""
    wrong, marked, sound = [], 0, 0
    for seed in range(300):
        base, above = laid_over(seed)
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(base, sort_keys=False))
        over = yaml.safe_dump(above, sort_keys=False)
        found, report = (
            complaints(above),
            said_by(with_bases(parse(over, str(tmp_path / "over.yaml")))),
        )
        marked += bool(found)
        sound += not report
        by_itself = [d.message for d in report if is_by_itself(d)]
        if (found and not report) or (by_itself and not found):
            wrong.append((seed, by_itself, found))
    assert wrong == []
    assert marked > 50
    assert sound > 50


def said_by(document: Document) -> list[Diagnostic]:
    """What the schema stage says."""
    assert document.data is not None, document.diagnostics
    return validate(document)[1]


def is_by_itself(found: Diagnostic) -> bool:
    """Whether a value of the upper spec is wrong whatever the base is; null may be for a base."""
    is_null = found.message.endswith(("not nothing", "cannot be None"))
    mine = found.span.file.endswith("over.yaml")
    return found.rule.code in BY_ITSELF and mine and not is_null


@pytest.mark.parametrize(
    "part",
    [
        "groups: null",
        "experts: {meta: null, task: {shared: null}}",
        "features: {history: {sequence: {max_len: 4}}}",
        "features: {history: {sequence: {encoder: {sim: {top: 4, by: null}}}}}",
        "features: {user_id: null, age: {dim: 2}, video_id: {id: {vocab: 4}}}",
        "features: {history: {sequence: {with: {place: {dim: 8}, watched: null}}}}",
        "tasks: {click: null, like: {tower: null}}",
        "gates: {self: null, feature: {loras: null}}",
        "layers: null",
        "description: null",
        "gates: {self: {}}",
    ],
)
def test_parts_of_sections_fit_where_there_is_a_base(part: str) -> None:
    data = yaml.safe_load(part)
    assert complaints({"extends": "base.yaml", **data}) == []
    whole = yaml.safe_load(RICH)
    assert complaints({**whole, **data}) != []


@pytest.mark.parametrize(
    "part",
    [
        "experts: {meta: {shard: 4}}",
        "experts: {norm: bach}",
        "features: {u: {id: {buckets: 1, vocab: 1}}}",
        "features: {u: {dense: 4, dim: 4}}",
        "features: {u: {id: {buckets: 4}, project: 2}}",
        "features: {h: {sequence: {encoder: {din: {}, twin: {}}}}}",
        "layers: [{outputs: [shared]}]",
        "name: null",
        "tasks: {click: {rate: 2}}",
        "groups: {class: [click]}",
    ],
)
def test_what_no_base_mends_is_marked(part: str) -> None:
    assert complaints({"extends": "base.yaml", **yaml.safe_load(part)}) != []


def values_of(schema: Any, key: str) -> list[tuple[dict[str, Any], Any]]:
    """Every (schema, value) of an annotation such as `default` or `examples`."""
    if isinstance(schema, list):
        return [pair for item in schema for pair in values_of(item, key)]
    if not isinstance(schema, dict):
        return []
    own = [(schema, schema[key])] if key in schema and "description" in schema else []
    return own + [pair for below in schema.values() for pair in values_of(below, key)]


def test_what_editors_insert_is_sound() -> None:
    """Examples fit where they are inserted; defaults are not, since they differ by family."""
    assert values_of(json_schema(), "default") == []
    examples = values_of(json_schema(), "examples")
    assert len(examples) > 30
    for schema, values in examples:
        shape = {key: value for key, value in schema.items() if key != "$ref"}
        shape["$defs"] = json_schema()["$defs"]
        for value in values:
            jsonschema.Draft202012Validator(shape).validate(value)


def test_each_key_is_described_and_tells_its_default() -> None:
    definitions = json_schema()["$defs"]
    dims = definitions["Feature"]["properties"]["dim"]
    assert (dims["title"], dims["examples"]) == ("dim", [16])
    assert dims["description"].startswith("Width of the embedding")
    task = definitions["Task"]["anyOf"][1]["properties"]
    assert task["loss"]["description"].endswith('Default: "squared".')
    for section in definitions.values():
        for long in (section, *section.get("anyOf", ())):
            for value in long.get("properties", {}).values():
                assert value["description"]
