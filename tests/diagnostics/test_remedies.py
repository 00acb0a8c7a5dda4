"""Each help line says what to write: written so, the spec validates.

The mistakes in `remedies.yaml` are those of people who come from other libraries, or who write
YAML as they would write Python. A case is a place of a sound spec, what is wrong there, what the
help says, and what is right, if that is not just what the help says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from homespec.compiler import validate_document
from homespec.diagnostics import Diagnostic, Severity
from homespec.source import parse

SOUND = {
    "head": "homespec: 1\nname: t",
    "user": "user_id: {id: {buckets: 100}, dim: 16}",
    "more": "",
    "groups": "groups: {watch: [click, finish], social: [like, follow]}",
    "click": "click: {}",
    "like": "like: {}",
    "other": "",
    "end": "",
}
SPEC = """\
{head}
features:
  {user}
  video_id: {{id: {{vocab: 90}}, dim: 16}}
  {more}
{groups}
tasks:
  {click}
  finish: {{}}
  {like}
  follow: {{}}
  {other}
{end}
"""
CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("remedies.yaml").read_text())


def spec(place: str, text: str) -> str:
    """The sound spec with a text at a place, or a text that is a whole spec."""
    return text if place == "whole" else SPEC.format(**{**SOUND, place: text})


def validated(text: str) -> list[Diagnostic]:
    return list(validate_document(parse(text, "spec.yaml")))


def errors(text: str) -> list[str]:
    found = validated(text)
    return [f"{d.message}: {d.help}" for d in found if d.rule.severity is Severity.ERROR]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["wrong"][:60])
def test_who_follows_the_help_has_a_spec_that_validates(case: dict[str, str]) -> None:
    place, said = case["at"], case["said"]
    stopped = [d for d in validated(spec(place, case["wrong"])) if d.rule.code < "HS300"]
    assert any(said in (d.help or "") for d in stopped), [d.help for d in stopped]
    assert errors(spec(place, case.get("right", said))) == []


def test_the_spec_of_the_cases_is_sound() -> None:
    assert errors(spec("end", "")) == []
    assert len(CASES) > 150
