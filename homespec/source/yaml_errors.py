"""Stage 1, source: turns a parser's error into a diagnostic with a cause, a place and a remedy.

The wordings of libyaml and PyYAML differ. The patterns below match both, and the rest is derived
from the text around the place, so that both parsers lead to the same diagnostic.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import yaml

from homespec.diagnostics import Diagnostic, Label
from homespec.source import file_rules, yaml_rules
from homespec.source.lines import Lines
from homespec.source.parse_error import WORD, ParseError
from homespec.source.yaml_events import offset

CONFLICT = re.compile(r"^(<{7}|>{7}) .*$", re.MULTILINE)
DIRECTIVE = re.compile(r"^%.*$", re.MULTILINE)
COLON = re.compile(r":(\s|$)")
QUOTES = ("'", '"')
PAIRS = {"[": "]", "{": "}"}
NAMED = {"*": "an alias", "&": "an anchor"}


def explain(
    error: yaml.MarkedYAMLError, lines: Lines, scalar: int, bracket: int | None
) -> list[Diagnostic]:
    """The diagnostic for an error of PyYAML or libyaml.

    `scalar` and `bracket` are the offsets of the last scalar and of the innermost open bracket.
    """
    at = offset(error.problem_mark)
    start = offset(error.context_mark) if error.context_mark else at
    problem, context = error.problem or "", error.context or ""
    located = ParseError(lines, problem, context, at, start, scalar, bracket)
    if conflict := CONFLICT.search(lines.text):
        return located.report(
            "the file contains a git merge conflict",
            "keep one of the two versions and delete the marker lines",
            lines.span(*conflict.span()),
        )
    for pattern, describe in DESCRIPTIONS:
        if pattern.search(f"{context}: {problem}"):
            return describe(located)
    said = " ".join(filter(None, (context, problem)))
    return located.report(f"not valid YAML: {said}", span=located.word_at(at))


def _too_deep(e: ParseError) -> list[Diagnostic]:
    """libyaml's own limit, which it reaches before the composer's count, because it reads ahead."""
    return yaml_rules.too_deep(e.char_at(e.at), yaml_rules.MAX_DEPTH)


def _no_token(e: ParseError) -> list[Diagnostic]:
    if e.char == "\t":
        return _tab(e)
    message = f"unquoted text cannot begin with `{e.char}`"
    return e.report(message, f"put the text in quotes: {e.quoted(e.at)}")


def _tab(e: ParseError) -> list[Diagnostic]:
    tabs = re.compile(r"\t+").match(e.text, e.at)
    span = e.lines.span(e.at, tabs.end() if tabs else e.at + 1)
    return e.report(
        "a tab is used for indentation", "indent with two spaces for each level", span, "tab"
    )


def _quote_not_closed(e: ParseError) -> list[Diagnostic]:
    quote = e.text[e.start]
    more = "; write an apostrophe inside it twice: ''" if quote == "'" else ""
    remedy = f"close it with `{quote}`{more}"
    return e.report("this quote is never closed", remedy, e.char_at(e.start), "opens here")


def _bad_escape(e: ParseError) -> list[Diagnostic]:
    return bad_escape(e.lines, e.text.rfind("\\", 0, e.at + 1))


def bad_escape(lines: Lines, at: int) -> list[Diagnostic]:
    """The diagnostic for the invalid escape at offset `at`."""
    sequence = lines.text[at : at + 2].rstrip()
    return yaml_rules.yaml_syntax(
        lines.span(at, at + len(sequence)),
        f"`{sequence}` does not begin a valid escape",
        remedy="write a backslash as `\\\\`, or use single quotes, which have no escapes",
    )


def _block_header(e: ParseError) -> list[Diagnostic]:
    if e.text[: e.start].rstrip(" ").endswith(QUOTES):
        return _after_quote(e, e.start)
    return e.report(
        f"`{e.text[e.start]}` begins a block of text, which starts on the next line, but more "
        "text follows it here",
        f"put the value in quotes: {e.quoted(e.start)}",
        e.char_at(e.start),
    )


def _bad_name(e: ParseError) -> list[Diagnostic]:
    sign = e.text[e.start]
    return e.report(
        f"`{sign}` begins {NAMED.get(sign, 'a tag')} and must be followed by a name of letters, "
        "digits, `-` and"
        " `_`",
        f"if it is plain text, quote it: {e.quoted(e.start)}",
        e.lines.span(e.start, max(e.at, e.start + 1)),
    )


def _stray_colon(e: ParseError) -> list[Diagnostic]:
    """`a: b: c`, or a key that continues the value above it because it is indented deeper."""
    key = e.before.lstrip(" -")
    start = e.at - len(key)
    if colon := COLON.search(key):
        remedy = f"text that contains `: ` needs quotes: {e.quoted(start + colon.end())}"
        return e.report("a second `: ` in one line", remedy)
    above = e.line_before(e.at)
    if above is None:
        return e.report(
            "the text before this `:` cannot be a key",
            "begin each key on a line of its own; a key has at most 1,024 characters",
        )
    if glued := yaml_rules.GLUED.match(e.text, above):
        return yaml_rules.missing_space(e.lines.span(*glued.span()), glued.group())
    line = e.lines.line_at(above).strip()
    if not COLON.search(line):
        return _no_colon(e, above, line)
    return e.report(
        "this line is indented deeper than the one above, which already has a value",
        "indent both lines equally",
        e.lines.span(start, e.at),
        "read as part of the value above",
        (Label(e.word_at(above), "has its value on this line"),),
    )


def _no_colon(e: ParseError, start: int, line: str) -> list[Diagnostic]:
    span = e.lines.span(start, start + len(line))
    if yaml_rules.GLUED.fullmatch(line):
        return yaml_rules.missing_space(span, line)
    shown = line if WORD.fullmatch(line) else "key"
    return e.report(
        "this line is neither a key with a value nor a list item",
        f"write `{shown}:` and a value, or `- {shown}`",
        span,
        "a colon is missing",
    )


def _key_without_colon(e: ParseError) -> list[Diagnostic]:
    if e.text[e.start] in PAIRS:
        return _not_closed(e)
    return _no_colon(e, e.start, e.lines.rest_of_line(e.start).split(" #")[0].rstrip())


def _glued_in_brackets(e: ParseError) -> list[Diagnostic]:
    """`{tower:{hidden: 3}}` or `{tower:}`."""
    word = re.search(r"[^\s,\[\]{}]*$", e.before)
    start = e.at - len(word.group()) if word else e.at
    if e.text[e.at + 1 : e.at + 2] in PAIRS:
        return yaml_rules.missing_space(e.lines.span(start, e.at + 2), e.text[start : e.at + 2])
    return e.report(
        f"after `{e.text[start : e.at]}:` a value is missing",
        "write a value, with a space after the colon",
        e.lines.span(start, e.at + 1),
    )


def _stray_dash(e: ParseError) -> list[Diagnostic]:
    return e.report(
        "a list item cannot begin on the line of its key",
        "begin each `- item` on a line of its own, or write `[item, item]`",
    )


COLUMN_RANGE = re.compile(r"columns: (\w*)[\[{](\d{1,9})(?:-|\.\.)(\d{1,9})[\]}]")
"""`columns: C[1-26]` in a mapping in brackets, which YAML reads as the start of a list."""


def _in_brackets(e: ParseError) -> list[Diagnostic]:
    """Something other than a comma or the closing bracket between brackets."""
    opening = e.text[e.start]
    opened = (Label(e.char_at(e.start), "opened here"),)
    if e.char in ("]", "}") and e.char != PAIRS.get(opening):
        remedy = f"write `{PAIRS[opening]}`"
        return e.report(f"`{e.char}` closes a `{opening}`", remedy, related=opened)
    if e.at_end or "\n" in e.text[e.start : e.at]:
        return _not_closed(e)
    if written := COLUMN_RANGE.search(e.text, max(e.start, e.at - 100), e.at + 30):
        stem, low, high = written.groups()
        remedy = f"write a range of columns as `{stem}{low}..{stem}{high}`"
        return e.report(f"expected `,` or `{PAIRS[opening]}`", remedy, related=opened)
    return e.report(
        f"expected `,` or `{PAIRS[opening]}`",
        "separate items by commas; quote text that contains `: ` or brackets",
        e.word_at(e.at),
        related=opened,
    )


def _not_closed(e: ParseError) -> list[Diagnostic]:
    opening = e.text[e.start]
    word = e.lines.span(e.at - len(e.before.lstrip()), e.at + 1)
    return e.report(
        f"this `{opening}` is never closed",
        f"close it with `{PAIRS[opening]}`",
        e.char_at(e.start),
        "opens here",
        () if e.at_end else (Label(word, "this cannot be part of it"),),
    )


def _no_content(e: ParseError) -> list[Diagnostic]:
    if e.char in ("]", "}"):
        return _stray_closing(e)
    if e.at_end and e.bracket is not None:
        return _not_closed(replace(e, start=e.bracket))
    remedy = f"write a value, or quote the text: {e.quoted(e.at)}"
    if e.char == ",":
        remedy = "delete the comma, or write a value before it"
    return e.report("expected a value" + (f", found `{e.char}`" if e.char else ""), remedy)


def _stray_closing(e: ParseError) -> list[Diagnostic]:
    remedy = "delete it, or quote the text around it"
    return e.report(f"this `{e.char}` closes nothing", remedy)


def _bad_block(e: ParseError) -> list[Diagnostic]:
    """A line or a word in a block of keys or items that is neither."""
    if e.char in ("]", "}"):
        return _stray_closing(e)
    if e.before.rstrip().endswith(QUOTES):
        return _after_quote(e, e.at)
    if e.before.strip(" -"):
        remedy = "put the whole value in quotes"
        return e.report("unexpected text after the value", remedy, e.word_at(e.at))
    if len(e.before) != e.start - e.lines.start_of_line(e.start):
        return _bad_indent(e)
    if "collection" in e.context:
        return _mixed(e, "a key", "a list", "keys and list items cannot be mixed")
    if e.char == "-":
        return _mixed(e, "an item of a list", "a mapping", "indent the list below its key")
    return e.report(f"expected a key, found `{e.char}`", "write `key: value`", e.word_at(e.at))


def _after_quote(e: ParseError, at: int) -> list[Diagnostic]:
    return e.report(
        "unexpected text after the closing quote",
        "quote the whole value; write a quote inside it twice ('') or escape it (\\\")",
        e.word_at(at),
        related=(Label(e.char_at(e.scalar), "this quote was closed before that"),),
    )


def _mixed(e: ParseError, what: str, inside: str, remedy: str) -> list[Diagnostic]:
    begins = (Label(e.word_at(e.start), f"{inside} begins here"),)
    message = f"{what} in the middle of {inside}"
    return e.report(message, remedy, e.word_at(e.at), related=begins)


def _bad_indent(e: ParseError) -> list[Diagnostic]:
    above = e.line_before(e.at)
    related: tuple[Label, ...] = ()
    if above is not None:
        indent = above - e.lines.start_of_line(above)
        related = (Label(e.word_at(above), f"is indented by {indent}"),)
    return e.report(
        f"this line is indented by {len(e.before)}, which matches no line above it",
        "indent it like its siblings",
        e.word_at(e.at),
        "unexpected indentation",
        related,
    )


def _tag(e: ParseError) -> list[Diagnostic]:
    tag = re.compile(r"![^\s\[\]{},]*").match(e.text, e.start)
    end = tag.end() if tag else e.start + 1
    return yaml_rules.unsupported_tag(e.lines.span(e.start, end), e.text[e.start : end])


def _directive(e: ParseError) -> list[Diagnostic]:
    line = DIRECTIVE.search(e.text)
    span = e.lines.span(*line.span()) if line else e.word_at(e.at)
    return e.report("this directive is not supported", "delete the line", span)


def _second_document(e: ParseError) -> list[Diagnostic]:
    if DIRECTIVE.search(e.text, 0, e.at):
        return _directive(e)
    return file_rules.several_documents(e.word_at(e.at))


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
