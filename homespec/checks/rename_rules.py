"""HS225: the names that `was` declares for older specs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from homespec.diagnostics import Finding, Label, rule
from homespec.resolve import Resolved
from homespec.schema.models import Feature, Group, Task

Entries = Iterable[tuple[str, Mapping[str, Feature | Group | Task]]]


@rule("HS225", "was-taken")
def was_taken(resolved: Resolved) -> Iterator[Finding]:
    """`was` gives a name that something else has or had.

    `was: share` says that a task, group or feature is the one that older specs call `share`, and
    takes over its weights. So nothing else in this spec can be called `share`, and only one entry
    can have been `share`. If you split a task in two, only one of the parts takes over the weights.
    """
    spec = resolved.spec
    sections: tuple[Entries, ...] = (
        [("features", spec.features)],
        [("groups", spec.groups), ("tasks", spec.tasks)],
    )
    for entries in sections:
        yield from _taken(resolved, entries)


def _taken(resolved: Resolved, entries: Entries) -> Iterator[Finding]:
    declared = {name: section for section, things in entries for name in things}
    first: dict[str, tuple[str, str]] = {}
    for section, things in entries:
        for name, thing in things.items():
            if not thing.was:
                continue
            span = resolved.span((section, name, "was"))
            if thing.was in declared:
                other = resolved.span((declared[thing.was], thing.was), key=True)
                yield Finding(
                    span,
                    f"`{name}` cannot have been `{thing.was}`, which is also declared",
                    label="its old name",
                    related=(Label(other, f"`{thing.was}`"),),
                    help="remove `was`, or the entry with that name",
                )
            at = first.setdefault(thing.was, (section, name))
            if at != (section, name):
                yield Finding(
                    span,
                    f"both `{at[1]}` and `{name}` were `{thing.was}`",
                    label="again",
                    related=(Label(resolved.span((*at, "was")), "first here"),),
                    help="keep `was` only in the one that takes over the weights",
                )
