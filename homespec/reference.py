"""Writes the parts of the documentation that are generated from code.

A page contains prose, and blocks between `<!-- generated: NAME -->` and `<!-- end -->`, which this
module fills. Run it in the project's root: `python -m homespec.reference [--check]`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click

from homespec.atomic_write import holds, write_texts
from homespec.catalogue import all_rules
from homespec.cli.exit_codes import FINDINGS, OK
from homespec.diagnostics import Rule
from homespec.schema.jsonschema import INHERITING, referred, sections

PAGES = ("docs/cli.md", "docs/language.md", "docs/rules.md")
BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
COMMAND = "python -m homespec.reference"

STAGES = {
    "HS0": ("source", "reading the file"),
    "HS1": ("schema", "keys, types and ranges"),
    "HS2": ("checks", "names, references and the task tree"),
    "HS3": ("checks", "widths, reachability, dead parameters, promises"),
    "HS4": ("checks", "design: specs that compile but tend to train badly"),
    "HS5": ("data", "findings of `check-data` in the files of a spec"),
    "HS6": ("diff", "changes between two versions of a spec"),
    "HS7": ("doctor", "findings of `doctor` in a trained model"),
}
"""The first digit of a rule's code -> the stage that reports it, and what that checks."""


# ---------------------------------------------------------------- rules


def rule_stages() -> str:
    """A table of the stages that report, with their numbers of rules."""
    rows = ["| codes | stage | looks at | rules |", "|---|---|---|---:|"]
    for digit, (stage, subject) in STAGES.items():
        rows.append(f"| `{digit}xx` | {stage} | {subject} | {len(_rules_of(digit))} |")
    return _lines(rows)


def rule_table() -> str:
    """A line for each rule, linked to its text."""
    rows = ["| code | name | severity | what it says |", "|---|---|---|---|"]
    for rule in all_rules().values():
        link = f"[{rule.code}](#{_anchor(rule)})"
        rows.append(f"| {link} | `{rule.name}` | {rule.severity} | {_cell(rule.summary)} |")
    return _lines(rows)


def rule_texts() -> str:
    """The full text of each rule, by stage."""
    parts = []
    for digit, (stage, subject) in STAGES.items():
        parts.append(f"## {digit}xx, {stage}: {subject}\n")
        for rule in _rules_of(digit):
            parts.append(f"### {rule.code} {rule.name}\n\n*{rule.severity}* {rule.doc}\n")
    return "\n".join(["", *parts])


def _rules_of(digit: str) -> list[Rule]:
    return [rule for code, rule in all_rules().items() if code.startswith(digit)]


def _anchor(rule: Rule) -> str:
    return f"{rule.code}-{rule.name}".lower()


# ---------------------------------------------------------------- language


def language_sections() -> str:
    """A heading, the places and the keys of each section of the language, outermost first."""
    parts = [_section(name, places) for name, places in _sections().items()]
    return "\n".join(["", *parts])


def _sections() -> dict[str, list[str]]:
    """Section -> its places in a spec, in order of appearance."""
    sections: dict[str, list[str]] = {"Spec": []}
    waiting = [("Spec", "")]
    while waiting:
        section, place = waiting.pop(0)
        for key, value in _mapping(section)["properties"].items():
            for below, name in _references(value, f"{place}.{key}" if place else key):
                places = sections.setdefault(name, [])
                if below not in places:
                    places.append(below)
                    waiting.append((name, below))
    return sections


def _references(value: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """The paths below the value of a key that hold sections, and these sections."""
    if "$ref" in value:
        yield place, referred(value)
    if isinstance(value.get("additionalProperties"), dict):
        yield from _references(value["additionalProperties"], f"{place}.NAME")
    if "items" in value:
        yield from _references(value["items"], place)
    for choice in chain(value.get("anyOf", ()), value.get("oneOf", ())):
        yield from _references(choice, place)


def _section(name: str, places: list[str]) -> str:
    mapping = _mapping(name)
    head = [f"## {name}", "", mapping.get("description", "")]
    if places:
        head += ["", "At " + ", ".join(f"`{place}`" for place in places) + "."]
    styles = [key for key in mapping["properties"] if name != "Experts" and _is_style(key, name)]
    if styles:
        keys = ", ".join(f"`{key}`" for key in styles)
        head += ["", f"Takes {keys} as in [Experts](#experts)."]
    rows = ["", "| key | takes | default | meaning |", "|---|---|---|---|"]
    for key, value in mapping["properties"].items():
        if key not in styles:
            cells = (_takes(value), _default(name, key, value), value.get("description", ""))
            rows.append(f"| `{key}` | " + " | ".join(map(_cell, cells)) + " |")
    return _lines([*head, *(rows if mapping["properties"] else [])])


def _is_style(key: str, section: str) -> bool:
    """Whether a key of an inheriting section is one of those that `experts` sets for all."""
    styles = set(_mapping("Experts")["properties"]) - {"all", "meta", "task"}
    return section in INHERITING and key in styles


def _mapping(section: str) -> dict[str, Any]:
    """The schema of a section in its long form, a mapping."""
    return sections()[section]


def _default(section: str, key: str, value: dict[str, Any]) -> str:
    if key in _mapping(section).get("required", ()):
        return "**required**"
    return f"`{_yaml(value['default'])}`" if "default" in value else ""


def _yaml(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _takes(value: dict[str, Any]) -> str:
    """The values of a key in words."""
    if "$ref" in value:
        name = referred(value)
        return f"[{name}](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{choice}`" for choice in value["enum"])
    for alternatives in ("anyOf", "oneOf"):
        if alternatives in value:
            return " or ".join(_takes(choice) for choice in value[alternatives])
    return _plain(value)


def _plain(value: dict[str, Any]) -> str:
    if value["type"] == "array":
        return f"list of {_takes(value['items'])}"
    if value["type"] == "object":
        return f"mapping of names to {_takes(value['additionalProperties'])}"
    words = {"integer": "int", "number": "number", "boolean": "true or false", "string": "text"}
    kinds = value["type"] if isinstance(value["type"], list) else [value["type"]]
    return " or ".join(words[kind] for kind in kinds) + _range(value)


def _range(value: dict[str, Any]) -> str:
    bounds = {key: f"{n:g}" if isinstance(n, float) else n for key, n in value.items()}
    low, high = bounds.get("minimum"), bounds.get("maximum")
    if low is not None and high is not None:
        return f" {low} to {high}"
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    limits = [f"{sign} {bounds[key]}" for key, sign in signs.items() if key in bounds]
    return " " + ", ".join(limits) if limits else ""


# ---------------------------------------------------------------- pages


def verb_table() -> str:
    """A line for each verb of the command line, linked to its options."""
    from homespec.cli.main import VERBS

    rows = (f"| [`{verb}`](#{verb}) | {does} |" for verb, does in VERBS.items())
    return _lines(["| verb | does |", "|---|---|", *rows])


def option_tables() -> str:
    """A heading, the usage and the options of each verb, from click."""
    from homespec.cli.main import VERBS, cli

    parts = []
    for verb in VERBS:
        context = click.Context(cli, info_name="homespec")
        command = cli.get_command(context, verb)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=verb)
        usage = " ".join(["homespec", verb, *command.collect_usage_pieces(inner)])
        parts += [f"### {verb}", "", f"`{usage}`", "", inspect.cleandoc(command.help or ""), ""]
        parts += [*_options(command, inner), ""]
    return _lines(["", *parts])


def _options(command: click.Command, context: click.Context) -> list[str]:
    rows = []
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            names = " / ".join(
                ", ".join(each) for each in (option.opts, option.secondary_opts) if each
            )
            takes = "" if option.is_flag or option.count else f" {option.make_metavar(context)}"
            record = option.get_help_record(context)  # with its default and its range
            assert record is not None, option.name
            rows.append(f"| `{_cell(names + takes)}` | {_cell(record[1])} |")
    return ["| option | does |", "|---|---|", *rows] if rows else []


BLOCKS: dict[str, Callable[[], str]] = {
    "verbs": verb_table,
    "options": option_tables,
    "rule-stages": rule_stages,
    "rule-table": rule_table,
    "rule-texts": rule_texts,
    "language": language_sections,
}
"""The functions that generate blocks, by the name in the marker."""


def filled(page: str) -> str:
    """A page with up-to-date blocks."""
    return BLOCK.sub(lambda match: match[1] + BLOCKS[match[2]]() + match[3], page)


def main(arguments: list[str]) -> int:
    """Write all pages or, with --check, list those that are stale. Returns the exit code."""
    texts = {Path(page): filled(Path(page).read_text("utf-8")) for page in PAGES}
    if "--check" in arguments:
        stale = [path for path, text in texts.items() if not holds(path, text)]
        for path in stale:
            print(f"{path} is stale\n  help: run `{COMMAND}`")
        return FINDINGS if stale else OK
    for path in write_texts(texts):
        print(f"wrote {path}")
    return OK


def _lines(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
