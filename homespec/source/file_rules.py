"""Stage 1, source: the rules HS001 to HS004 and HS014 to HS016, on files as a whole."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from homespec.diagnostics import Finding, Position, Span, rule


def beginning(file: str) -> Span:
    """The span for findings about a whole file."""
    return Span(file, Position(1, 1), Position(1, 1))


@rule("HS001", "unreadable-file")
def unreadable_file(file: str, reason: str, remedy: str = "") -> Iterator[Finding]:
    """A file cannot be read.

    It does not exist, is a folder, or this user has no permission to read it. Pipes, sockets and
    devices are not opened, since reading them may never end; `-` reads stdin. Nothing in the file
    was checked, so the run counts as failed. Check the path for typos and the file's permissions
    (`ls -l`). In CI, also check that the file is committed and that the working directory is the
    one you expect.

    Bad, where the folder holds `kuairand.yaml`:

        homespec validate specs/kuairnd.yaml

    Good:

        homespec validate specs/kuairand.yaml
    """
    yield Finding(beginning(file), f"cannot read the file: {reason}", help=remedy)


@rule("HS002", "not-text")
def not_text(file: str, problem: str, remedy: str) -> Iterator[Finding]:
    """A file is not text in UTF-8.

    A spec is a text file in UTF-8, the encoding of YAML, git and every editor. This one is binary
    (a picture, a checkpoint, an archive) or was saved in another encoding such as UTF-16 or
    Latin-1. Save it as UTF-8, or pass the file you meant.

    Bad:

        homespec validate checkpoints/last.ckpt

    Good, after saving the spec as UTF-8 (or `iconv -f LATIN1 -t UTF-8 old.yaml > new.yaml`):

        homespec validate new.yaml
    """
    yield Finding(beginning(file), f"the file is not UTF-8 text: {problem}", help=remedy)


@rule("HS003", "forbidden-character")
def forbidden_character(span: Span, character: str) -> Iterator[Finding]:
    """The text contains an invisible or misleading character.

    Control characters, marks that reorder the text around them, exotic line breaks and, in keys,
    blanks other than a plain space make a reviewer see something other than what a parser reads.
    Most of them come from text copied from chats, web pages and word processors. Delete the
    character; where a text really needs it, write it as an escape in double quotes.

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
    unnamed = "tab" if character == "\t" else "control character"
    name = unicodedata.name(character, unnamed).lower()
    width = 4 if ord(character) < 0x10000 else 8
    escape = f"\\{'u' if width == 4 else 'U'}{ord(character):0{width}x}"
    yield Finding(
        span,
        f"the character {code} ({name}) is not allowed here",
        help=f'delete it, or write it inside double quotes as "{escape}"',
    )


@rule("HS004", "too-large")
def too_large(span: Span, what: str, limit: str) -> Iterator[Finding]:
    """A file, or one value in it, is far larger than a spec ever is.

    `homespec validate` runs on pull requests from strangers, so its input is bounded: at most 1 MiB
    per file, 50,000 values, and 65,536 characters per value. Specs with hundreds of tasks stay far
    below these limits. Data, such as a long vocabulary, belongs in a file of its own. If a program
    generates the spec, make it generate a smaller one.

    Bad:

    ```yaml
    description: "... a hundred pages ..."
    ```

    Good:

    ```yaml
    description: see docs/ranking.md
    ```
    """
    yield Finding(
        span, f"{what} is too large: the limit is {limit}", help="keep data in separate files"
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
        "a second document begins here, but a file holds one spec",
        help="put each spec into a file of its own, or delete this line",
    )


@rule("HS015", "empty-spec")
def empty_spec(file: str) -> Iterator[Finding]:
    """The file is empty or holds only comments.

    There is nothing to check or compile. A spec has at least a version, a name, features, groups
    and tasks. `homespec new` writes a first one for you.

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
def not_a_mapping(span: Span, actual: str, remedy: str) -> Iterator[Finding]:
    """The top level of the file is not a mapping.

    A spec is a mapping from keys such as `features`, `groups` and `tasks` to their values. This
    file holds a list or a single value instead. Often it is not a spec at all, or a space is
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
    yield Finding(span, f"a spec is a mapping of keys to values, but this is {actual}", help=remedy)
