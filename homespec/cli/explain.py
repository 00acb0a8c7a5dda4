"""Command line: `homespec explain`, the documentation of the rules."""

from __future__ import annotations

import click

from homespec.cli.output import has_color
from homespec.diagnostics import Rule
from homespec.diagnostics.catalogue import all_rules, find_rule, nearest_rule
from homespec.diagnostics.render.paint import painter


@click.command(short_help="Print the documentation of a rule.")
@click.argument("rule", required=False)
@click.option("--all", "everything", is_flag=True, help="List all rules.")
def explain(rule: str | None, everything: bool) -> None:
    """Explain the rule with this code (HS201) or name (unknown-member)."""
    if everything == (rule is not None):
        raise click.UsageError("Name a rule, or list them with --all.")
    click.echo(_listing() if rule is None else _explained(_found(rule)), nl=False)


def _found(word: str) -> Rule:
    rule = find_rule(word)
    if rule is None:
        guess = nearest_rule(word)
        hint = f"Did you mean `{guess}`?" if guess else "--all lists the rules."
        raise click.UsageError(f"There is no rule `{word}`. {hint}")
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
