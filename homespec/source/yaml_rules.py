"""Stage 1, source: the rules HS005 to HS013, on YAML and on the part of it that specs use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from homespec.diagnostics import Finding, Label, Span, rule
from homespec.diagnostics.suggest import closest

GLUED = re.compile(r"\w[\w.-]*:\S+")
"""A key and a value without a space between them."""

MAX_DEPTH = 64
"""Maximum depth of mappings and lists."""


@rule("HS005", "yaml-syntax")
def yaml_syntax(
    span: Span, message: str, label: str = "", related: tuple[Label, ...] = (), remedy: str = ""
) -> Iterator[Finding]:
    """The file is not valid YAML.

    Nothing after a syntax error can be read reliably, so only the first one is reported. The usual
    causes are a tab where spaces belong, a line indented unlike its siblings, a bracket or quote
    that is never closed, and text containing `: ` or ` #` that needs quotes.

    Bad:

    ```yaml
    groups:
      watch: [long_view, finish
      social: [like, follow]
    ```

    Good:

    ```yaml
    groups:
      watch: [long_view, finish]
      social: [like, follow]
    ```
    """
    yield Finding(span, message, label, related, remedy)


@rule("HS006", "missing-space")
def missing_space(span: Span, word: str) -> Iterator[Finding]:
    """The space after a colon is missing.

    YAML reads `dim:16` as one word, not as the key `dim` with the value 16. Put a space after the
    colon. If a key really contains a colon, quote it.

    Bad:

    ```yaml
    user_id: {id: {vocab: 100}, dim:16}
    ```

    Good:

    ```yaml
    user_id: {id: {vocab: 100}, dim: 16}
    ```
    """
    key, value = word.split(":", 1)
    shown = value if len(value) < 40 and not set(value) & set("[]{}") else "..."
    yield Finding(
        span,
        f"a space is missing after the colon of `{key}:`",
        "read as one word",
        help=f"write `{key}: {shown}`",
    )


@rule("HS007", "duplicate-key")
def duplicate_key(span: Span, key: str, first: Span) -> Iterator[Finding]:
    """A key occurs twice in one mapping.

    Most YAML parsers silently keep the last one, so the first looks as if it took effect but does
    not. Delete one of them, rename it, or merge their values.

    Bad:

    ```yaml
    groups:
      watch: [long_view]
      watch: [finish]
    ```

    Good:

    ```yaml
    groups:
      watch: [long_view, finish]
    ```
    """
    yield Finding(
        span,
        f"the key `{key}` appears twice in this mapping",
        "here again",
        (Label(first, "first here"),),
        "delete or rename one of them",
    )


@rule("HS008", "key-not-string")
def key_not_string(span: Span, actual: str, remedy: str) -> Iterator[Finding]:
    """A key is not text.

    All keys of a spec are names. Unquoted, `1`, `true` and `null` are a number, a boolean and null.
    `{{ x }}` is a mapping used as a key, because specs have no templates. Quote a name that looks
    like something else.

    Bad:

    ```yaml
    tasks:
      true: {label: is_true}
    ```

    Good:

    ```yaml
    tasks:
      "true": {label: is_true}
    ```
    """
    yield Finding(span, f"a key must be text, but this one is {actual}", help=remedy)


@rule("HS009", "too-deep")
def too_deep(span: Span, limit: int) -> Iterator[Finding]:
    """Mappings and lists are nested too deeply.

    A spec nests about six levels deep. More than 64 levels are a mistake, often in a program that
    writes YAML, or an attack on the parser. Aliases count as what they repeat. Groups nest by name,
    not by indentation.

    Bad:

    ```yaml
    watch: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[
    ```

    Good:

    ```yaml
    groups: {watch: [long_view, finish], interaction: [watch, like]}
    ```
    """
    yield Finding(
        span,
        f"more than {limit} levels of mappings and lists",
        "one level too many",
        help="groups nest by name: list the inner group's name in the outer group",
    )


@rule("HS010", "unknown-alias")
def unknown_alias(span: Span, name: str, anchors: Iterable[str]) -> Iterator[Finding]:
    """An alias names an anchor that is not defined before it.

    In YAML, `*name` repeats the value marked with `&name` earlier in the file, and there is no such
    mark. Correct the name, or move the anchor before the alias. If the text merely begins with a
    star, quote it.

    Bad:

    ```yaml
    experts:
      meta: &small {count: 2}
      task: *smal
    ```

    Good:

    ```yaml
    experts:
      meta: &small {count: 2}
      task: *small
    ```
    """
    guess = closest(name, anchors)
    remedy = f"did you mean `*{guess}`?" if guess else f'if it is plain text, quote it: "*{name}"'
    yield Finding(span, f"no anchor `&{name}` comes before this alias", help=remedy)


@rule("HS011", "alias-cycle")
def alias_cycle(span: Span, name: str, anchor: Span) -> Iterator[Finding]:
    """An alias is inside the value that it repeats.

    The value would contain itself and never end. Move the alias out of the anchored value, or write
    out the inner value.

    Bad:

    ```yaml
    groups: &all
      watch: *all
    ```

    Good:

    ```yaml
    groups:
      watch: [long_view, finish]
    ```
    """
    yield Finding(
        span,
        f"the alias `*{name}` is inside the value that it repeats",
        "would contain itself",
        (Label(anchor, "the anchored value begins here"),),
        "write the inner value out",
    )


@rule("HS012", "alias-bomb")
def alias_bomb(span: Span, limit: int) -> Iterator[Finding]:
    """Aliases expand a small file into an enormous one.

    Aliases of aliases multiply: ten lines can mean a billion values ("billion laughs"). With every
    alias expanded, a spec may have at most 50,000 values. Use aliases for single repeated values,
    and the defaults of `experts`, `gates` and `towers` for settings that all tasks share.

    Bad:

    ```yaml
    a: &a [x, x, x, x, x, x, x, x, x]
    b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
    c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
    d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]
    e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]
    ```

    Good:

    ```yaml
    towers: {hidden: [64]}
    ```
    """
    yield Finding(
        span,
        f"with its aliases expanded, the file has more than {limit:,} values",
        "this alias exceeds the limit",
        help="write the values out, or use a default that all tasks share",
    )


@rule("HS013", "unsupported-tag")
def unsupported_tag(span: Span, tag: str) -> Iterator[Finding]:
    """A value has an explicit tag, such as `!!str` or `!!python/object`.

    Tags make a YAML parser build special objects. Some parsers build any Python object, which is a
    well-known way to run code from a configuration file. Specs need no tags. Delete the tag; to
    keep a number as text, quote it.

    Bad:

    ```yaml
    name: !!str 2024
    ```

    Good:

    ```yaml
    name: "2024"
    ```
    """
    yield Finding(
        span,
        f"tag `{tag}` is not supported",
        help="delete the tag; to keep a value as text, quote it",
    )
