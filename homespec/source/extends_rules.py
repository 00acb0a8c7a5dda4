"""Stage 1, source: the rules HS020 to HS024, on files that extend others and on flags."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, Span, rule


@rule("HS020", "bad-base")
def bad_base(span: Span, name: str, reason: str, remedy: str) -> Iterator[Finding]:
    """The file that a spec extends cannot be used.

    `extends` takes the path of a YAML file, relative to the spec. An absolute path, a file of
    another kind (also one that a link leads to) and a chain of more than eight files are refused:
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

    A spec is laid over its base, the base over its own base, and so on; the last one extends
    nothing. The message prints the files along the way.
    """
    yield Finding(
        span,
        f"specs extend each other in a circle: {' → '.join(files)}",
        label="closes the circle",
        help="remove `extends` from one of them",
    )


@rule("HS022", "unknown-item")
def unknown_item(span: Span, path: str, problem: str) -> Iterator[Finding]:
    """A flag changes an item of a list that is not there.

    `--set experts.meta.0.width=32` changes the first entry of the list `experts.meta`. The number
    must be that of an entry, counted from 0.
    """
    yield Finding(
        span,
        f"`{path}` is not an item of the list there: {problem}",
        label="no such item",
        help="items are counted from 0; to replace the whole list, set the list",
    )


@rule("HS023", "base-outside")
def base_outside(span: Span, name: str) -> Iterator[Finding]:
    """The file that a spec extends is outside of the spec's project.

    A message shows lines of the files that a spec is made of, and specs come from strangers: a pull
    request must not read what else is on the machine that checks it. So bases are below the root of
    the repository, the nearest folder above the spec that holds `.git`. Where there is no
    repository, they are below the folder `specs` that the spec is in, or else in the spec's own
    folder or below it. Links that lead out count as outside, and what is outside is not even looked
    for.

    Folders that are given on the command line count as well. So do those that the environment
    variable `HOMESPEC_ROOT` names, for instance in an image that is built without `.git`, and
    `root=` of `homespec.load`.

    Bad:

        extends: ../../other_project/specs/base.yaml

    Good, after copying the base into the project:

        extends: ../base.yaml
    """
    yield Finding(
        span,
        f"cannot extend `{name}`: it leads out of the project",
        label="not below the project's root",
        help="copy the base into the repository; `homespec explain HS023` says what may be read",
    )


@rule("HS024", "link-outside")
def link_outside(span: Span) -> Iterator[Finding]:
    """A spec is a link, or below one, that leads out of its repository.

    Whoever writes in the repository could let such a link lead to any file of the machine that
    checks it, and messages show lines of it. So the file is not read. Links to specs of the same
    repository are fine; so are links where there is no repository.

    Name the file that the link leads to, or allow its folder by the environment variable
    `HOMESPEC_ROOT`.

    Bad, where the file is a link into another folder of this machine:

        homespec validate specs/shared.yaml

    Good:

        homespec validate /srv/specs/shared.yaml
    """
    yield Finding(
        span,
        "the file is a link that leads out of its repository, so it is not read",
        help="name the file itself, or allow its folder: HOMESPEC_ROOT=FOLDER",
    )
