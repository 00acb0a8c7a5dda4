"""Stage 1, source: the rules HS001 to HS016, on files, YAML and the part of YAML that we take."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from homespec.diagnostics import Finding, Label, Position, Span, rule
from homespec.diagnostics.suggest import closest

GLUED = re.compile(r"\w[\w.-]*:\S+")
"""A key and a value without a blank between them."""


def beginning(file: str) -> Span:
    """The place of what concerns a whole file."""
    return Span(file, Position(1, 1), Position(1, 1))


@rule("HS001", "unreadable-file")
def unreadable_file(file: str, reason: str, remedy: str = "") -> Iterator[Finding]:
    """A file cannot be read.

    It does not exist, is a folder, or this user has no permission to read it. Nothing in it
    was checked, so the run counts as failed. Check the path for typing mistakes and the file's
    permissions (`ls -l`); in CI, check that the file is committed and the working directory is
    the one that you mean.

    Bad, where the folder holds `kuairand.yaml`:

        homespec validate specs/kuairnd.yaml

    Good:

        homespec validate specs/kuairand.yaml
    """
    yield Finding(beginning(file), f"cannot read the file: {reason}", help=remedy)


@rule("HS002", "not-text")
def not_text(file: str, found: str, remedy: str) -> Iterator[Finding]:
    """A file is not text in UTF-8.

    A spec is a text file in UTF-8, the encoding of YAML, git and every editor. This one is
    binary (a picture, a checkpoint, an archive) or was saved in another encoding such as
    UTF-16 or Latin-1. Save it as UTF-8, or pass the file that you meant.

    Bad:

        homespec validate checkpoints/last.ckpt

    Good, after saving the spec as UTF-8 (or `iconv -f LATIN1 -t UTF-8 old.yaml > new.yaml`):

        homespec validate new.yaml
    """
    yield Finding(beginning(file), f"the file is not UTF-8 text: {found}", help=remedy)


@rule("HS003", "forbidden-character")
def forbidden_character(span: Span, character: str) -> Iterator[Finding]:
    """The text has a character that cannot be seen or that misleads readers.

    Control characters, marks that reorder the text around them, exotic line breaks and, in
    keys, blanks that are no plain space: what a reviewer sees is not what a parser reads.
    Most come from copying out of chats, web pages and word processors. Delete the character;
    where a text really needs it, write it as an escape in double quotes.

    Bad (the blank in the key is a no-break space, U+00A0):

    ```yaml
    long\u00a0view: {label: is_long_view}
    ```

    Good:

    ```yaml
    long_view: {label: is_long_view}
    ```
    """
    code = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "control character").lower()
    width = 4 if ord(character) < 0x10000 else 8
    escape = f"\\{'u' if width == 4 else 'U'}{ord(character):0{width}x}"
    yield Finding(
        span,
        f"character {code} ({name}) is not allowed here",
        help=f'delete it; inside double quotes it can be written as "{escape}"',
    )


@rule("HS004", "too-large")
def too_large(span: Span, what: str, limit: str) -> Iterator[Finding]:
    """A file, or one value in it, is far larger than a spec ever is.

    `homespec validate` runs on pull requests of strangers, so what it reads is bounded: a file
    of at most 1 MiB with at most 50,000 values, each of at most 65,536 characters. Specs of
    hundreds of tasks stay far below. Data, such as long vocabularies, belongs into files of
    its own; a generated spec should rather be generated smaller.

    Bad:

    ```yaml
    description: "... a hundred pages ..."
    ```

    Good:

    ```yaml
    description: see docs/ranking.md
    ```
    """
    yield Finding(span, f"{what} is too large: the limit is {limit}", help="")


@rule("HS005", "yaml-syntax")
def yaml_syntax(
    span: Span, message: str, label: str = "", related: tuple[Label, ...] = (), remedy: str = ""
) -> Iterator[Finding]:
    """The file is not valid YAML.

    Nothing after such a place can be read for sure, so only the first is reported. The usual
    causes: a tab where spaces belong, a line that is indented unlike its siblings, a bracket
    or quote that is never closed, a text with `: ` or ` #` in it that needs quotes.

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
    """The blank after the colon is missing.

    YAML takes `dim:16` for one word, not for the key `dim` with the value 16. Put a blank
    after the colon. A key that really has a colon in it is written in quotes.

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
        f"there is no blank after the colon of `{key}:`",
        "read as one word",
        help=f"write `{key}: {shown}`",
    )


@rule("HS007", "duplicate-key")
def duplicate_key(span: Span, key: str, first: Span) -> Iterator[Finding]:
    """A key stands twice in one mapping.

    Most YAML parsers silently keep the last of the two, so the first looks as if it were in
    force but is not. Delete one of them, rename it, or join their values.

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
        f"key `{key}` stands twice in this mapping",
        "here again",
        (Label(first, "first here"),),
        "delete or rename one of them",
    )


@rule("HS008", "key-not-string")
def key_not_string(span: Span, found: str, remedy: str) -> Iterator[Finding]:
    """A key is not text.

    All keys of a spec are names. Unquoted, `1`, `true` and `null` are a number, a truth value
    and nothing; `{{ x }}` is a mapping as a key of a mapping, because specs know no templates.
    Put a name in quotes if it looks like something else.

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
    yield Finding(span, f"a key must be text, this one is {found}", help=remedy)


@rule("HS009", "too-deep")
def too_deep(span: Span, limit: int) -> Iterator[Finding]:
    """Mappings and lists are nested too deeply.

    A spec nests about six levels deep; more than 64 are a mistake, often of a program that
    writes YAML, or an attack on the parser. Aliases count with what they stand for. Groups
    nest by name, not by indentation.

    Bad:

    ```yaml
    watch: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[
    ```

    Good:

    ```yaml
    groups: {watch: [long_view, finish], interaction: [watch, like]}
    ```
    """
    yield Finding(span, f"more than {limit} levels of mappings and lists", "one level too many")


@rule("HS010", "unknown-alias")
def unknown_alias(span: Span, name: str, anchors: Iterable[str]) -> Iterator[Finding]:
    """An alias names an anchor that does not stand before it.

    In YAML `*name` repeats the value that was marked with `&name` further up. There is no such
    mark. Correct the name, move the anchor before the alias, or, if the text just begins with
    a star, put it in quotes.

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
    yield Finding(span, f"no anchor `&{name}` stands before this alias", help=remedy)


@rule("HS011", "alias-cycle")
def alias_cycle(span: Span, name: str, anchor: Span) -> Iterator[Finding]:
    """An alias stands inside the very value that it repeats.

    The value would contain itself and never end. Move the alias out of the anchored value, or
    write the inner value out.

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
        f"alias `*{name}` stands inside the value that it repeats",
        "would contain itself",
        (Label(anchor, "the anchored value begins here"),),
        "write the inner value out",
    )


@rule("HS012", "alias-bomb")
def alias_bomb(span: Span, limit: int) -> Iterator[Finding]:
    """Aliases blow a small file up into an enormous one.

    Aliases of aliases multiply: ten lines can stand for a billion values ("billion laughs").
    With every alias written out a spec may have 50,000 values. Use aliases for single values
    that repeat, and the defaults of `experts`, `gates` and `towers` for what all tasks share.

    Bad:

    ```yaml
    a: &a [x, x, x, x, x, x, x, x, x]
    b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
    c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
    ```

    Good:

    ```yaml
    towers: {hidden: [64]}
    ```
    """
    yield Finding(
        span,
        f"with aliases written out, the file has more than {limit:,} values",
        "this alias goes over the limit",
        help="write the values out, or use a default that all tasks share",
    )


@rule("HS013", "unsupported-tag")
def unsupported_tag(span: Span, tag: str) -> Iterator[Finding]:
    """A value has an explicit tag, such as `!!str` or `!!python/object`.

    Tags tell a YAML parser to build special objects, in some parsers any Python object: a
    well-known way to run code out of a configuration file. Specs need none. Delete the tag; to
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
        span, f"tag `{tag}` is not supported", help="delete the tag; to make a value text, quote it"
    )


@rule("HS014", "several-documents")
def several_documents(span: Span) -> Iterator[Finding]:
    """The file holds more than one YAML document.

    A line `---` begins a new document. One file is one spec, so that a file's name, its
    generated module and its checkpoints belong together. Split the file, or delete the line.

    Bad:

    ```yaml
    homespec: 1
    name: home
    ---
    homespec: 1
    name: ple
    ```

    Good: `home.yaml` and `ple.yaml`, one spec in each.
    """
    yield Finding(
        span,
        "a second document begins here; a file holds one spec",
        help="put each spec into a file of its own, or delete this line",
    )


@rule("HS015", "empty-spec")
def empty_spec(file: str) -> Iterator[Finding]:
    """The file is empty or holds only comments.

    There is nothing to check or to compile. A spec has at least a version, a name, features,
    groups and tasks; `homespec new` writes a first one.

    Bad:

    ```yaml
    # to be done
    ```

    Good:

    ```yaml
    homespec: 1
    name: first
    features: {user_id: {id: {buckets: 1000}, dim: 8}}
    groups: {watch: [click, like]}
    tasks: {click: {}, like: {}}
    ```
    """
    yield Finding(
        beginning(file), "the file holds no spec", help="begin with `homespec: 1` and a `name`"
    )


@rule("HS016", "not-a-mapping")
def not_a_mapping(span: Span, found: str, remedy: str) -> Iterator[Finding]:
    """The top level of the file is not a mapping.

    A spec is a mapping from keys such as `features`, `groups` and `tasks` to their values. The
    file holds a list or a single value instead: often it is not a spec at all, or a blank is
    missing after a colon.

    Bad:

    ```yaml
    - name: click
    - name: like
    ```

    Good:

    ```yaml
    tasks:
      click: {}
      like: {}
    ```
    """
    yield Finding(span, f"a spec is a mapping of keys to values, this is {found}", help=remedy)
