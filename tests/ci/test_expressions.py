"""The evaluator that the tests use in place of GitHub's: where it is wrong, so are they."""

from __future__ import annotations

import pytest
from expressions import filled, is_met
from workflow_commands import commands

CONTEXTS = {
    "inputs": {"on": "true", "off": "false", "a-b": "x y", "empty": ""},
    "github": {"event": {"pull_request": {"base": {"sha": "abc"}}}, "event_name": "push"},
    "steps": {"one": {"outcome": "failure", "outputs": {"n": "1"}}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ inputs.a-b }}!", "x y!"),
        ("${{ github.event.pull_request.base.sha }}", "abc"),
        ("${{ github.event.merge_group.base_sha || 'none' }}", "none"),
        ("${{ steps.two.outputs.n }}", ""),
        ("${{ inputs.on == 'TRUE' && 'yes' }}", "yes"),
        ("${{ !(inputs.on == inputs.off) }}", "true"),
        ("${{ inputs.empty || steps.one.outputs.n }} ${{ 'it''s' }}", "1 it's"),
    ],
)
def test_values(text: str, value: str) -> None:
    assert filled(text, CONTEXTS) == value


@pytest.mark.parametrize(
    ("condition", "failed", "met"),
    [
        (None, False, True),
        (None, True, False),
        ("inputs.on == 'true'", True, False),
        ("${{ inputs.on == 'true' }}", False, True),
        ("${{ always() && inputs.off }}", True, True),  # a text that is not empty is true
        ("${{ !cancelled() && steps.one.outputs.n }}", True, True),
        ("${{ !cancelled() && steps.one.outputs.m }}", False, False),
        ("failure() || steps.one.outcome != 'failure'", False, False),
    ],
)
def test_conditions(condition: str | None, failed: bool, met: bool) -> None:
    assert is_met(condition, CONTEXTS, failed) is met


@pytest.mark.parametrize("text", ["${{ unknown.x }}", "${{ 1 + 2 }}", "${{ success( }}"])
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises((KeyError, ValueError, AssertionError)):
        filled(text, CONTEXTS)


def test_commands() -> None:
    log = "\n".join(
        (
            "  ::error file=a,line=2::one%0Atwo",
            "text ::warning::not at the start",
            "x ##[add-mask]old form",
            "::unknown::x",
            "::stop-commands::word",
            "::error::stopped",
            "::word::",
            "::notice::again",
        )
    )
    assert [(c.name, c.text) for c in commands(log)] == [
        ("error", "one\ntwo"),
        ("add-mask", "old form"),
        ("notice", "again"),
    ]
    assert next(commands(log)).properties == {"file": "a", "line": "2"}
