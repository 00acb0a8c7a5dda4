"""Editor: another name for a task or group, wherever specs mention it.

The data keeps its columns: a task whose label was its name says `label: OLD` from then on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from homespec.editor.edits import CannotEditError, Edit, insert_key
from homespec.editor.mentions import Kind, Mention, mention_at, mentions
from homespec.editor.open_specs import Related
from homespec.schema.identifiers import is_identifier, is_reserved
from homespec.source import Document
from homespec.source.scalars import resolve

RENAMED: tuple[Kind, ...] = ("task", "group")


def renamed_at(document: Document, offset: int) -> Mention | None:
    """The mention under the cursor, if what it names can be renamed."""
    mention = mention_at(document, offset)
    return mention if mention and set(RENAMED) & set(mention.place.kinds) else None


def rename(old: str, new: str, related: Sequence[Related]) -> list[Edit]:
    """The edits that call a task or group `new` in all specs that are made of each other.

    Raises CannotEditError for what is no name, or is the name of something else.
    """
    found = {spec.place: list(filter(_is_node, mentions(spec.own))) for spec in related}
    _check(new, {m.name for names in found.values() for m in names} - {old})
    edits = []
    declaring = {place for place, names in found.items() if any(_declares(old, m) for m in names)}
    for spec in related:
        if spec.own.data is None:
            raise CannotEditError(f"{spec.own.file} cannot be read: mend it first")
        here = [m for m in found[spec.place] if m.name == old]
        edits += [Edit(spec.own.file, *m.range, new) for m in here]
        if not declaring & spec.bases:
            edits += _kept_labels(spec.own, here)
    return list(dict.fromkeys(edits))


def _declares(name: str, mention: Mention) -> bool:
    """Whether a mention declares the task of this name."""
    return mention.name == name and mention.place.declares and mention.path[0] == "tasks"


def _is_node(mention: Mention) -> bool:
    return bool(set(RENAMED) & set(mention.place.kinds))


def _check(new: str, taken: set[str]) -> None:
    if not is_identifier(new) or not isinstance(resolve(new), str):
        raise CannotEditError(f"`{new}` is not a name: use letters, digits and _")
    if is_reserved(new):
        raise CannotEditError(f"`{new}` is reserved")
    if new in taken:
        raise CannotEditError(f"there is a task or group `{new}` already")


def _kept_labels(document: Document, found: list[Mention]) -> Iterator[Edit]:
    """`label: OLD` for a task whose label was its name. Where a base declares it, it is there."""
    for mention in found:
        if _declares(mention.name, mention) and "label" not in mention.node.parts:
            yield insert_key(document, mention.path, f"label: {mention.name}")
