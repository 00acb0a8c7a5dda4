"""The examples in the documentation of the rules are true."""

from __future__ import annotations

import re

import pytest

from homespec.catalogue import all_rules
from homespec.diagnostics import Rule
from homespec.source import parse

BLOCK = re.compile(r"^(Bad|Good)[^\n]*:\n\n```yaml\n(.*?)```", re.MULTILINE | re.DOTALL)
SOURCE = [rule for code, rule in all_rules().items() if "HS003" <= code <= "HS016"]
TOO_LONG_TO_SHOW = ("HS004",)


@pytest.mark.parametrize("rule", SOURCE, ids=lambda rule: rule.code)
def test_examples(rule: Rule) -> None:
    examples = dict(BLOCK.findall(rule.doc))
    assert "Bad" in examples
    if rule.code not in TOO_LONG_TO_SHOW:
        assert rule.code in {d.rule.code for d in parse(examples["Bad"]).diagnostics}
    assert parse(examples.get("Good", "a: 1")).diagnostics == ()


@pytest.mark.parametrize("rule", all_rules().values(), ids=lambda rule: rule.code)
def test_documentation(rule: Rule) -> None:
    assert rule.summary.endswith(".")
    assert rule.doc.splitlines()[1:2] == [""], "the first line stands alone"
    assert re.fullmatch(r"HS\d{3}", rule.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
