"""Stage 1, source: merges one document's data over another's, key by key, with all places."""

from __future__ import annotations

from homespec.source.document import Node, Value

Path = tuple[str, ...]
ENCODERS = ("mean", "din", "dien", "sim", "twin")


def merged(below: Value, above: Value, under: Node, over: Node, path: Path) -> tuple[Value, Node]:
    """The merged data of two documents at `path`, and its places.

    Mappings merge key by key; null removes a key of the lower one; any other value of the upper
    document replaces the lower value. The keys of the lower one come first. Neither is changed.
    """
    below, under, above, over = _long_forms(below, under, above, over, path)
    if not (isinstance(below, dict) and isinstance(above, dict)) or _other_kind(below, above, path):
        return above, over
    data = dict(below)
    parts = dict(under.parts)
    for key, value in above.items():
        if key in below and value is None:
            del data[key], parts[key]
        elif key in below:
            data[key], parts[key] = merged(
                below[key], value, under.parts[key], over.parts[key], (*path, key)
            )
        else:
            data[key], parts[key] = value, over.parts[key]
    node = Node(over.lines, over.start, over.end, over.key_start, over.key_end, parts)
    return data, node


def _other_kind(below: dict[str, Value], above: dict[str, Value], path: Path) -> bool:
    """A feature, an id or an encoder of another kind replaces the lower one."""
    kinds: tuple[str, ...] = ()
    if path[:1] == ("features",):
        kinds = _kinds(path)
    new, old = above.keys() & set(kinds), below.keys() & set(kinds)
    return bool(new and old and new != old)


def _kinds(path: Path) -> tuple[str, ...]:
    """Groups of keys of which a feature, an id, or the encoder of a sequence has exactly one."""
    if len(path) == 2 or (len(path) == 5 and path[2:4] == ("sequence", "with")):
        return ("id", "bucketize", "number", "dense", "table", "cross", "sequence")
    if len(path) in (3, 6) and path[-1] == "id":
        return ("buckets", "vocab")
    return ENCODERS if path[2:] == ("sequence", "encoder") else ()


def _long_forms(
    below: Value, under: Node, above: Value, over: Node, path: Path
) -> tuple[Value, Node, Value, Node]:
    """Next to a mapping, a short form is written out:

    `4` as `{count: 4}`, `false` as `{enabled: false}`.

    A mapping over true or false stays as it is, because it configures a gate that is on.
    """
    if path[:1] in (("experts",), ("layers",)):
        if _is_count(below) and isinstance(above, dict):
            below, under = {"count": below}, _with_part(under, "count")
        elif _is_count(above) and isinstance(below, dict):
            above, over = {"count": above}, _with_part(over, "count")
    is_gate = path[:1] == ("gates",) and path[-1] in ("feature", "self")
    if is_gate and isinstance(above, bool) and isinstance(below, dict):
        above, over = {"enabled": above}, _with_part(over, "enabled")
    return below, under, above, over


def _is_count(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _with_part(node: Node, key: str) -> Node:
    """The place of a mapping whose only value has the place of the short form."""
    return Node(node.lines, node.start, node.end, node.key_start, node.key_end, {key: node})
