"""Command line: `homespec explain`, the documentation of the rules, or a model in words."""

from __future__ import annotations

import click

from homespec.catalogue import all_rules, find_rule, nearest_rule
from homespec.cli.exit_codes import FINDINGS, OK
from homespec.cli.reporting import has_color
from homespec.cli.specs import one_analysis, set_option
from homespec.diagnostics import Rule
from homespec.diagnostics.render.color import painter


@click.command()
@click.argument("rule", required=False)
@click.option("--all", "everything", is_flag=True, help="List all rules.")
@click.option(
    "--spec", help="Show which published model a spec is, and what its sequences and gates read."
)
@set_option
def explain(
    rule: str | None, everything: bool, spec: str | None, overrides: tuple[str, ...]
) -> int:
    """Explain a rule, by its code (HS201) or name (unknown-member), or the model of a spec."""
    if [rule is not None, everything, spec is not None].count(True) != 1:
        raise click.UsageError("Name a rule, list them with --all, or give a spec with --spec.")
    if spec is not None:
        return _model(spec, overrides)
    click.echo(_listing() if rule is None else _explained(_rule_called(rule)), nl=False)
    return OK


def _model(path: str, overrides: tuple[str, ...]) -> int:
    analysis = one_analysis(path, overrides)
    if analysis is None:
        return FINDINGS
    from homespec.analysis.describe_gates import describe_gates
    from homespec.analysis.describe_sequences import describe_sequences
    from homespec.analysis.family_match import describe_match, match_family

    click.echo(describe_match(analysis, match_family(analysis)))
    for line in (*describe_sequences(analysis.graph), *describe_gates(analysis)):
        click.echo(line)
    return OK


def _rule_called(word: str) -> Rule:
    rule = find_rule(word)
    if rule is None:
        guess = nearest_rule(word)
        hint = f"Did you mean `{guess}`?" if guess else "--all lists the rules."
        raise click.UsageError(f"No rule is called `{word}`. {hint}")
    return rule


def _explained(rule: Rule) -> str:
    paint = painter(has_color())
    head = paint(f"{rule.severity}[{rule.code}]", rule.severity)
    return f"{head} {paint(rule.name, 'strong')}\n\n{rule.doc}\n"


def _listing() -> str:
    paint = painter(has_color())
    rules = all_rules().values()
    width = max(len(rule.name) for rule in rules)
    return "".join(
        f"{paint(rule.code, rule.severity)} {rule.severity:7} {rule.name:{width}} {rule.summary}\n"
        for rule in rules
    )
