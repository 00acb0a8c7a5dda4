"""HS245 to HS247: tables that begin with the vectors of a file; rules do not open the file."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, rule
from homespec.resolve import Resolved

SUFFIXES = (".npy", ".safetensors", ".parquet")


@rule("HS245", "table-file")
def table_file(resolved: Resolved) -> Iterator[Finding]:
    """`from` is not the path of a file of vectors beside the spec or in a folder below it.

    Specs may come from strangers, so `train` reads no file but those in the folder of the spec: no
    absolute paths, and none with `..`. A link that leads out of the repository is refused when
    `train` opens the file. The format is that of the suffix: `.npy`, `.safetensors` or `.parquet`.
    Pickles are not read, since they run code.

    Bad:

        video_id: {id: {vocab: 1000}, dim: 64, from: /data/vectors.npy}

    Good:

        video_id: {id: {vocab: 1000}, dim: 64, from: data/vectors.npy}
    """
    for name, feature in resolved.spec.features.items():
        path = feature.from_
        if path and (problem := _problem(path)):
            yield Finding(
                resolved.span(("features", name, "from")),
                f"`{name}` begins with the vectors of `{path}`, {problem[0]}",
                label=problem[1],
                help=problem[2],
            )


def _problem(path: str) -> tuple[str, str, str] | None:
    """The mistake in a path, in a few words, and the remedy."""
    beside = "put the file beside the spec and write its name, such as `from: vectors.npy`"
    if path.startswith("/") or "\\" in path or "\0" in path:
        return "which is not a path from the spec", "not beside the spec", beside
    if ".." in path.split("/"):
        return "which is outside of the spec's folder", "not beside the spec", beside
    if not path.endswith(SUFFIXES):
        return (
            "whose format is not known",
            "unknown suffix",
            "save the vectors as `.npy`, `.safetensors` or `.parquet`",
        )
    return None


@rule("HS246", "table-file-rows")
def table_file_rows(resolved: Resolved) -> Iterator[Finding]:
    """`from` is given for a table whose rows are not those of single ids.

    A file has a vector for each id, so each id needs a row of its own: `vocab`. With `buckets` the
    ids of a row share it, and the vectors of all but one would be lost. Features of another kind
    have no table of ids: `table: video_id` uses the one of `video_id`, which may have a file, and a
    vector that comes with each row of the data is `dense`.

    Bad:

        video_id: {id: {buckets: 1000}, dim: 64, from: vectors.parquet}

    Good:

        video_id: {id: {vocab: {min_count: 1, max_size: 1000}}, dim: 64, from: vectors.parquet}
    """
    for name, feature in resolved.spec.features.items():
        if not feature.from_:
            continue
        span = resolved.span(("features", name, "from"), key=True)
        if feature.kind != "id":
            yield Finding(
                span,
                f"`{name}` is `{feature.kind}` and has no table of ids for a file to fill",
                label="only with `id`",
                help="remove `from`, or give it to the `id` feature whose table this is"
                if feature.kind == "table"
                else "remove `from`",
            )
        elif feature.id.buckets:
            yield Finding(
                span,
                f"ids of `{name}` share rows, and a file has a vector for each id",
                label="not with `buckets`",
                help="give each id a row: `vocab: n` for the ids 0 to n - 1, a list, or"
                " `vocab: {min_count: 1, max_size: n}` with a `.parquet` file",
            )
        elif feature.id.words and not feature.from_.endswith(".parquet"):
            yield Finding(
                span,
                f"the vocabulary of `{name}` is fitted to data, so only a file that names its ids"
                " can fill its rows",
                label="has no ids",
                help="save the vectors as `.parquet` with the columns `id` and `vector`",
            )


@rule("HS247", "frozen-without-file")
def frozen_without_file(resolved: Resolved) -> Iterator[Finding]:
    """`frozen` is given for a table that begins with random numbers.

    A frozen table stays what it is when training starts. Without a file it would be noise for good.
    To keep what an earlier run has learned, use `homespec train --init-from RUN --freeze
    features.NAME.weight`.

    Bad:

        video_id: {id: {vocab: 1000}, dim: 64, frozen: true}

    Good:

        video_id: {id: {vocab: 1000}, dim: 64, from: vectors.npy, frozen: true}
    """
    for name, feature in resolved.spec.features.items():
        if feature.frozen and not feature.from_:
            yield Finding(
                resolved.span(("features", name, "frozen"), key=True),
                f"`{name}` is frozen, and no file says with which vectors",
                label="without `from`",
                help="add `from: vectors.npy`, or remove `frozen`",
            )
