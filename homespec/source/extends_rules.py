"""Stage 1, source: the rules HS020 to HS024, on files that extend others and on flags."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, Span, rule


@rule("HS020", "bad-base")
def bad_base(span: Span, name: str, reason: str, remedy: str) -> Iterator[Finding]:
    """The file that a spec extends cannot be used.

    `extends` takes the path of a YAML file, relative to the spec. An absolute path, a file of
    another kind (even through a link) and a chain of more than eight files are refused, because
    specs may come from strangers.

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
    """Specs extend each other in a cycle.

    A spec is laid over its base, that base over its own base, and so on, until a file that extends
    nothing. The message prints the files along the cycle.
    """
    yield Finding(
        span,
        f"specs extend each other in a cycle: {' → '.join(files)}",
        label="closes the cycle",
        help="remove `extends` from one of them",
    )


@rule("HS022", "unknown-item")
def unknown_item(span: Span, path: str, problem: str) -> Iterator[Finding]:
    """A flag changes a list item that does not exist.

    `--set experts.meta.0.width=32` changes the first entry of the list `experts.meta`. The number
    must be the index of an existing entry, counted from 0.
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

    Messages show lines of the files that a spec is made of, and specs may come from strangers. A
    pull request must not be able to read other files on the machine that checks it. So bases must
    be below the root of the repository, which is the nearest folder above the spec that holds
    `.git`. Without a repository, they must be below the folder `specs` that contains the spec, or
    else in or below the spec's own folder. Links that lead out of the project count as outside, and
    homespec does not even look for files outside.

    Folders given on the command line are allowed as well. So are the folders in the environment
    variable `HOMESPEC_ROOT`, for example in an image built without `.git`, and those passed as
    `root=` to `homespec.load`.

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

    Anyone who can write to the repository could point such a link at any file on the machine that
    checks it, and messages show lines of that file. So the file is not read. Links to specs in the
    same repository are fine, and so are links where there is no repository.

    Name the file that the link leads to, or allow its folder with the environment variable
    `HOMESPEC_ROOT`.

    Bad, where the file is a link into another folder of this machine:

        homespec validate specs/shared.yaml

    Good:

        homespec validate /srv/specs/shared.yaml
    """
    yield Finding(
        span,
        "the file is a link that leads out of its repository, so homespec does not read it",
        help="name the file itself, or allow its folder: HOMESPEC_ROOT=FOLDER",
    )
