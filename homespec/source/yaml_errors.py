"""Stage 1, source: turns a parser's error into what is wrong, where, and how to mend it.

The wordings of libyaml and of PyYAML differ; the patterns below take both, and the text around
the place says the rest, so that both parsers lead to the same diagnostic.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import yaml

from homespec.diagnostics import Diagnostic, Label
from homespec.source import file_rules, yaml_rules
from homespec.source.events import offset
from homespec.source.lines import Lines
from homespec.source.parse_error import WORD, ParseError

CONFLICT = re.compile(r"^(<{7}|>{7}) .*$", re.MULTILINE)
DIRECTIVE = re.compile(r"^%.*$", re.MULTILINE)
COLON = re.compile(r":(\s|$)")
QUOTES = ("'", '"')
PAIRS = {"[": "]", "{": "}"}


def explain(
    error: yaml.MarkedYAMLError, lines: Lines, scalar: int, bracket: int | None
) -> list[Diagnostic]:
    """The diagnostic for what PyYAML or libyaml could not read.

    `scalar` and `bracket` are the offsets of the last scalar and of the innermost open bracket.
    """
    at = offset(error.problem_mark)
    start = offset(error.context_mark) if error.context_mark else at
    problem, context = error.problem or "", error.context or ""
    located = ParseError(lines, problem, context, at, start, scalar, bracket)
    if conflict := CONFLICT.search(lines.text):
        return _conflict(located, conflict)
    for pattern, describe in DESCRIPTIONS:
        if pattern.search(f"{context}: {problem}"):
            return describe(located)
    return _anything(located)


def _conflict(c: ParseError, match: re.Match[str]) -> list[Diagnostic]:
    return yaml_rules.yaml_syntax(
        c.span(*match.span()),
        "a merge conflict of git was left in the file",
        remedy="keep one of the two versions and delete the marker lines",
    )


def _too_deep(c: ParseError) -> list[Diagnostic]:
    """The limit of libyaml itself, which reads ahead of what the composer has counted."""
    return yaml_rules.too_deep(c.span(c.at, c.at + 1), yaml_rules.MAX_DEPTH)


def _no_token(c: ParseError) -> list[Diagnostic]:
    if c.char == "\t":
        return _tab(c)
    return yaml_rules.yaml_syntax(
        c.span(c.at, c.at + 1),
        f"an unquoted text cannot begin with `{c.char}`",
        remedy=f"put the text in quotes: {_quoted(c.text, c.at)}",
    )


def _tab(c: ParseError) -> list[Diagnostic]:
    tabs = re.compile(r"\t+").match(c.text, c.at)
    return yaml_rules.yaml_syntax(
        c.span(c.at, tabs.end() if tabs else c.at + 1),
        "a tab is used to indent",
        "tab",
        remedy="indent with spaces, two for each level",
    )


def _quote_not_closed(c: ParseError) -> list[Diagnostic]:
    quote = c.text[c.start]
    remedy = f"close it with `{quote}`"
    if quote == "'":
        remedy += "; an apostrophe inside of it is written twice: ''"
    return yaml_rules.yaml_syntax(
        c.span(c.start, c.start + 1), "this quote is never closed", "opens here", remedy=remedy
    )


def _bad_escape(c: ParseError) -> list[Diagnostic]:
    return bad_escape(c.lines, c.text.rfind("\\", 0, c.at + 1))


def bad_escape(lines: Lines, at: int) -> list[Diagnostic]:
    """The diagnostic for the escape at offset `at`, which stands for no character."""
    sequence = lines.text[at : at + 2].rstrip()
    return yaml_rules.yaml_syntax(
        lines.span(at, at + len(sequence)),
        f"`{sequence}` does not begin a valid escape",
        remedy="write a backslash as `\\\\`, or use single quotes, which know no escapes",
    )


def _block_header(c: ParseError) -> list[Diagnostic]:
    sign = c.text[c.start]
    if c.text[: c.start].rstrip(" ").endswith(QUOTES):
        return _after_quote(c, c.start)
    return yaml_rules.yaml_syntax(
        c.span(c.start, c.start + 1),
        f"`{sign}` begins a block of text, whose lines follow below; more stands behind it here",
        remedy=f"put the value in quotes: {_quoted(c.text, c.start)}",
    )


def _bad_name(c: ParseError) -> list[Diagnostic]:
    sign = c.text[c.start]
    what = {"*": "an alias", "&": "an anchor"}.get(sign, "a tag")
    return yaml_rules.yaml_syntax(
        c.span(c.start, max(c.at, c.start + 1)),
        f"`{sign}` begins {what} and needs a name of letters, digits, `-` and `_`",
        remedy=f"if it is plain text, quote it: {_quoted(c.text, c.start)}",
    )


def _stray_colon(c: ParseError) -> list[Diagnostic]:
    """`a: b: c`; or a key that continues the value of the line above, being indented deeper."""
    key = c.before.lstrip(" -")
    if COLON.search(key):
        value = c.at - len(key) + COLON.search(key).end()  # type: ignore[union-attr]
        return yaml_rules.yaml_syntax(
            c.span(c.at, c.at + 1),
            "a second `: ` in one line",
            remedy=f"a text with `: ` in it needs quotes: {_quoted(c.text, value)}",
        )
    above = c.line_before(c.at)
    if above is None:
        return yaml_rules.yaml_syntax(
            c.span(c.at),
            "the text before this `:` cannot be a key",
            remedy="begin each key in a line of its own; a key has at most 1,024 characters",
        )
    if glued := re.compile(yaml_rules.GLUED.pattern).match(c.text, above):
        return yaml_rules.missing_space(c.span(*glued.span()), glued.group())
    return _continued(c, c.at - len(key), above)


def _continued(c: ParseError, key: int, above: int) -> list[Diagnostic]:
    """The key at `key` reads as the second line of the text that begins in the line `above`."""
    word = c.lines.line_at(above).strip()
    if not COLON.search(word):
        return _no_colon(c, above, word)
    return yaml_rules.yaml_syntax(
        c.span(key, c.at),
        "this line is indented deeper than the one above, which has a value already",
        "read as part of that value",
        (Label(c.span(above), "has its value in this line"),),
        "indent both lines alike",
    )


def _no_colon(c: ParseError, start: int, word: str) -> list[Diagnostic]:
    if yaml_rules.GLUED.fullmatch(word):
        return yaml_rules.missing_space(c.span(start, start + len(word)), word)
    shown = word if WORD.fullmatch(word) else "key"
    return yaml_rules.yaml_syntax(
        c.span(start, start + len(word)),
        "this line is neither a key with a value nor an item of a list",
        "a colon is missing",
        remedy=f"write `{shown}:` and a value, or `- {shown}`",
    )


def _key_without_colon(c: ParseError) -> list[Diagnostic]:
    if c.text[c.start] in "[{":
        return _not_closed(c, c.text[c.start])
    line = c.lines.line_at(c.start)[c.start - c.lines.start_of_line(c.start) :]
    return _no_colon(c, c.start, line.split(" #")[0].rstrip())


def _glued_in_brackets(c: ParseError) -> list[Diagnostic]:
    """`{tower:{hidden: 3}}` or `{tower:}`."""
    word = re.search(r"[^\s,\[\]{}]*$", c.before)
    start = c.at - len(word.group()) if word else c.at
    after = c.text[c.at + 1 : c.at + 2]
    if after in PAIRS:
        return yaml_rules.missing_space(c.span(start, c.at + 2), c.text[start : c.at + 2])
    return yaml_rules.yaml_syntax(
        c.span(start, c.at + 1),
        f"after `{c.text[start : c.at]}:` a value is missing",
        remedy="write a value, and a blank between it and the colon",
    )


def _stray_dash(c: ParseError) -> list[Diagnostic]:
    return yaml_rules.yaml_syntax(
        c.span(c.at, c.at + 1),
        "an item of a list cannot begin in the line of its key",
        remedy="begin each `- item` in a line of its own, or write `[item, item]`",
    )


def _in_brackets(c: ParseError) -> list[Diagnostic]:
    """Between brackets, something else than a comma or the closing bracket."""
    opening = c.text[c.start]
    if c.char in ("]", "}") and c.char != PAIRS.get(opening):
        return yaml_rules.yaml_syntax(
            c.span(c.at, c.at + 1),
            f"`{c.char}` closes a `{opening}`",
            related=(Label(c.span(c.start, c.start + 1), "opened here"),),
            remedy=f"write `{PAIRS[opening]}`",
        )
    if c.at_end or "\n" in c.text[c.start : c.at]:
        return _not_closed(c, opening)
    return yaml_rules.yaml_syntax(
        c.span(c.at),
        f"expected `,` or `{PAIRS[opening]}`",
        related=(Label(c.span(c.start, c.start + 1), "opened here"),),
        remedy="separate items by commas; quote a text that has `: ` or brackets in it",
    )


def _not_closed(c: ParseError, opening: str) -> list[Diagnostic]:
    word = c.at - len(c.before.lstrip())
    related = () if c.at_end else (Label(c.span(word, c.at + 1), "this cannot stand in it"),)
    return yaml_rules.yaml_syntax(
        c.span(c.start, c.start + 1),
        f"this `{opening}` is never closed",
        "opens here",
        related,
        f"close it with `{PAIRS[opening]}`",
    )


def _no_content(c: ParseError) -> list[Diagnostic]:
    if c.char in ("]", "}"):
        return _stray_closing(c)
    if c.at_end and c.bracket is not None:
        return _not_closed(replace(c, start=c.bracket), c.text[c.bracket])
    return yaml_rules.yaml_syntax(
        c.span(c.at, c.at + 1),
        f"expected a value, found `{c.char}`" if c.char else "expected a value",
        remedy="delete the comma, or write a value before it"
        if c.char == ","
        else f"write a value, or quote the text: {_quoted(c.text, c.at)}",
    )


def _stray_closing(c: ParseError) -> list[Diagnostic]:
    return yaml_rules.yaml_syntax(
        c.span(c.at, c.at + 1),
        f"this `{c.char}` closes nothing",
        remedy="delete it, or quote the text that it belongs to",
    )


def _bad_block(c: ParseError) -> list[Diagnostic]:
    """In a block of keys or of items, a line or a word that is neither."""
    if c.char in ("]", "}"):
        return _stray_closing(c)
    if c.before.strip(" -"):
        return _more_in_line(c)
    level = c.start - c.lines.start_of_line(c.start)
    if len(c.before) == level and "collection" in c.context:
        return _mixed(c, "a key", "a list", "keys and items cannot be mixed")
    if len(c.before) == level and c.char == "-":
        return _mixed(c, "an item of a list", "a mapping", "indent the list below its key")
    if len(c.before) == level:
        message = f"expected a key, found `{c.char}`"
        return yaml_rules.yaml_syntax(c.span(c.at), message, remedy="write `key: value`")
    return _bad_indent(c)


def _more_in_line(c: ParseError) -> list[Diagnostic]:
    if c.before.rstrip().endswith(QUOTES):
        return _after_quote(c, c.at)
    remedy = "put all of the value in quotes"
    return yaml_rules.yaml_syntax(c.span(c.at), "unexpected text after the value", remedy=remedy)


def _after_quote(c: ParseError, at: int) -> list[Diagnostic]:
    return yaml_rules.yaml_syntax(
        c.span(at),
        "unexpected text after the closing quote",
        related=(Label(c.span(c.scalar, c.scalar + 1), "this quote was closed before it"),),
        remedy="quote all of it; a quote inside is written twice ('') or escaped (\\\")",
    )


def _mixed(c: ParseError, found: str, inside: str, remedy: str) -> list[Diagnostic]:
    return yaml_rules.yaml_syntax(
        c.span(c.at),
        f"{found} in the middle of {inside}",
        related=(Label(c.span(c.start), f"{inside} begins here"),),
        remedy=remedy,
    )


def _bad_indent(c: ParseError) -> list[Diagnostic]:
    blanks = len(c.before)
    above = c.line_before(c.at)
    related: tuple[Label, ...] = ()
    if above is not None:
        indent = above - c.lines.start_of_line(above)
        related = (Label(c.span(above), f"is indented by {indent}"),)
    return yaml_rules.yaml_syntax(
        c.span(c.at),
        f"this line is indented by {blanks}, like no line above that it could belong to",
        "unexpected indentation",
        related,
        "indent it exactly like its siblings",
    )


def _tag(c: ParseError) -> list[Diagnostic]:
    tag = re.compile(r"![^\s\[\]{},]*").match(c.text, c.start)
    end = tag.end() if tag else c.start + 1
    return yaml_rules.unsupported_tag(c.span(c.start, end), c.text[c.start : end])


def _directive(c: ParseError) -> list[Diagnostic]:
    line = DIRECTIVE.search(c.text)
    span = c.span(*line.span()) if line else c.span(c.at)
    return yaml_rules.yaml_syntax(span, "this directive is not supported", remedy="delete the line")


def _second_document(c: ParseError) -> list[Diagnostic]:
    if DIRECTIVE.search(c.text, 0, c.at):
        return _directive(c)
    return file_rules.several_documents(c.span(c.at))


def _anything(c: ParseError) -> list[Diagnostic]:
    said = " ".join(part for part in (c.context, c.problem) if part)
    return yaml_rules.yaml_syntax(c.span(c.at), f"not valid YAML: {said}")


def _quoted(text: str, start: int) -> str:
    """The rest of a line in quotes, to show how it is done."""
    line = re.compile(r"[^\r\n]*").match(text, start)
    words = (line.group() if line else "").split(" #")[0].rstrip(" ,]}")
    if "'" in words or '"' in words or not 0 < len(words) <= 40:
        return "'...'"
    return f'"{words}"' if "\\" not in words else f"'{words}'"


DESCRIPTIONS: tuple[tuple[re.Pattern[str], Callable[[ParseError], list[Diagnostic]]], ...] = tuple(
    (re.compile(pattern), describe)
    for pattern, describe in (
        ("maximum nesting depth", _too_deep),
        ("directive|incompatible", _directive),
        ("scanning a tag|parsing a tag|tag handle", _tag),
        ("cannot start any token", _no_token),
        ("tab character", _tab),
        ("found unexpected (end of stream|document)", _quote_not_closed),
        ("unknown escape|escape code|hexadecimal|hexdecimal", _bad_escape),
        ("chomping|comment or (a )?line break|indentation indicator", _block_header),
        ("alphabetic or numeric", _bad_name),
        ("mapping values are not allowed", _stray_colon),
        ("mapping keys are not allowed", _no_content),
        ("found unexpected ':'", _glued_in_brackets),
        ("sequence entries are not allowed", _stray_dash),
        ("could not find expected ':'", _key_without_colon),
        (r"expected ',' or", _in_brackets),
        ("node content", _no_content),
        ("<document start>", _second_document),
        ("expected <block end>|expected key|expected '-'", _bad_block),
    )
)
