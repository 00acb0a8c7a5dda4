"""HS524 and HS525: vocabularies that are fitted to the rows to train on."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.data.profiled import ProfiledData, share
from homespec.diagnostics import Finding, Severity, rule
from homespec.schema.fitted_columns import word_columns


@rule("HS524", "empty-vocabulary")
def empty_vocabulary(data: ProfiledData) -> Iterator[Finding]:
    """A vocabulary is fitted to a column in which no id is frequent enough.

    `min_count` says how often an id has to be in the rows to train on. Where none is, each id would
    be unknown and the feature would say nothing, so `train` also refuses it.

    Bad, where each order has an id of its own:

    ```yaml
    features:
      order_id: {id: {vocab: {min_count: 5, max_size: 10000}}, dim: 8}
    ```

    Good, with a column whose ids come again:

    ```yaml
    features:
      shop_id: {id: {vocab: {min_count: 5, max_size: 10000}}, dim: 8}
    ```
    """
    for name, found in data.train.words.items():
        feature = data.train.features[name]
        if found.problem:
            what, _, remedy = found.problem.partition(": ")
            yield Finding(
                data.at_table(feature.tensor, "vocab"),
                f"{data.train.name}: `{feature.tensor.column}` {what}",
                label="every id would be unknown",
                help=remedy,
            )


@rule("HS525", "full-vocabulary", Severity.WARNING)
def full_vocabulary(data: ProfiledData) -> Iterator[Finding]:
    """A fitted vocabulary has no room for all ids that are frequent enough.

    `max_size` is the number of rows that the table has for ids. The most frequent ids get them; the
    others share the row of unknown ids although they are there `min_count` times. Give a larger
    `max_size`, or a larger `min_count` to say that they are rare.

    Bad, where 240 countries are there 100 times or more:

    ```yaml
    features:
      country: {id: {vocab: {min_count: 100, max_size: 50}}, dim: 8}
    ```

    Good:

    ```yaml
    features:
      country: {id: {vocab: {min_count: 100, max_size: 300}}, dim: 8}
    ```
    """
    for name, asked in word_columns(data.spec).items():
        found = data.train.words.get(name)
        if found is None or len(found.ids) <= asked.max_size:
            continue
        feature, left = data.train.features[name], int(found.counts[asked.max_size :].sum())
        yield Finding(
            data.at_table(feature.tensor, "vocab"),
            f"{data.train.name}: {len(found.ids):,} ids of `{asked.column}` are there"
            f" {asked.min_count:,} times or more, and there are {asked.max_size:,} rows for them:"
            f" {share(left, found.values)} values are ids without a row",
            label=f"{asked.max_size:,} rows",
            help=f"write `max_size: {len(found.ids)}`, or a `min_count` above"
            f" {int(found.counts[asked.max_size])}",
        )
