"""Stage 1, source: the rules HS020 to HS022, on files that extend others and on flags."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, Span, rule


@rule("HS020", "bad-base")
def bad_base(span: Span, name: str, reason: str, remedy: str) -> Iterator[Finding]:
    """The file that a spec extends cannot be used.

    `extends` takes the path of a YAML file, relative to the file that says it. An absolute path, a
    file of another kind (also behind a link) and a chain of more than eight files are refused:
    specs come from strangers, too.

    Bad:

        extends: /home/me/base.yaml

    Good:

        extends: ../base.yaml
    """
    yield Finding(
        span, f"cannot extend `{name}`: {reason}", label="the base of this spec", help=remedy
    )


@rule("HS021", "extends-cycle")
def extends_cycle(span: Span, files: list[str]) -> Iterator[Finding]:
    """Specs extend each other in a circle.

    A spec is laid over its base, the base over its own base, and so on; the last one must stand by
    itself. The message prints the files along the way.
    """
    yield Finding(
        span,
        f"specs extend each other in a circle: {' → '.join(files)}",
        label="closes the circle",
        help="remove `extends` from one of them",
    )


@rule("HS022", "unknown-item")
def unknown_item(span: Span, path: str, found: str) -> Iterator[Finding]:
    """A flag changes an item of a list that is not there.

    `--set experts.meta.0.width=32` changes the first entry of the list `experts.meta`. The number
    must be that of an entry, counted from 0.
    """
    yield Finding(
        span,
        f"`{path}` is not an item of the list there: {found}",
        label="no such item",
        help="items are counted from 0; to replace the whole list, set the list",
    )
