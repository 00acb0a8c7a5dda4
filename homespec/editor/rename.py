"""Editor: renames a task or group wherever specs mention it.

The data keeps its columns: a task whose label was its name gets `label: OLD`.
"""

from __future__ import annotations

from collections.abc import Sequence

from homespec.editor.edits import CannotEditError, Edit, insert_key
from homespec.editor.mentions import Kinds, Mention, mention_at, mentions, mentions_of
from homespec.editor.open_specs import Related
from homespec.schema.identifiers import is_identifier, is_reserved
from homespec.source import Document
from homespec.source.scalars import resolve

RENAMED: Kinds = ("task", "group")


def renamed_at(document: Document, offset: int) -> Mention | None:
    """The mention at the cursor, if its name can be changed."""
    mention = mention_at(document, offset)
    return mention if mention and _is_node(mention) else None


def rename(old: str, new: str, related: Sequence[Related]) -> list[Edit]:
    """The edits that rename a task or group to `new` in all specs that share it.

    Raises CannotEditError for a `new` that cannot be a name or is already used.
    """
    for spec in related:
        if spec.own.data is None:
            raise CannotEditError(f"{spec.own.file} cannot be read: fix it first")
    _check(new, {m.name for spec in related for m in mentions(spec.own) if _is_node(m)} - {old})
    found = mentions_of(old, RENAMED, related)
    declaring = {spec.place for spec, mention in found if _declares_task(mention)}
    edits = []
    for spec, mention in found:
        edits.append(Edit(spec.own.file, *mention.range, new))
        if _declares_task(mention) and not declaring & spec.bases:
            edits += _kept_label(spec.own, mention)
    return list(dict.fromkeys(edits))


def _declares_task(mention: Mention) -> bool:
    return mention.place.declares and mention.path[0] == "tasks"


def _is_node(mention: Mention) -> bool:
    return bool(set(RENAMED) & set(mention.place.kinds))


def _check(new: str, taken: set[str]) -> None:
    if not is_identifier(new) or not isinstance(resolve(new), str):
        raise CannotEditError(f"`{new}` is not a name: use letters, digits and _")
    if is_reserved(new):
        raise CannotEditError(f"`{new}` is reserved")
    if new in taken:
        raise CannotEditError(f"a task or group `{new}` already exists")


def _kept_label(document: Document, task: Mention) -> list[Edit]:
    """`label: OLD` for a task whose label was its name, in the file that declares the task."""
    if "label" in task.node.parts:
        return []
    return [insert_key(document, task.path, f"label: {task.name}")]
