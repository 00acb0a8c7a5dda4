"""HS239 and HS421: the sessions within which tasks rank their rows."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, Label, Severity, rule
from homespec.resolve import Resolved
from homespec.schema.sessions import session_column


@rule("HS239", "one-session-column")
def one_session_column(resolved: Resolved) -> Iterator[Finding]:
    """Tasks rank their rows within sessions of different columns.

    A batch can keep the rows of one column's sessions together, and the losses take the ids of one
    column. So all tasks with `within` name the same one. Choose the finest within which rows are
    really ranked against each other, such as the request.

    Bad:

    ```yaml
    tasks:
      click: {within: {column: request_id}}
      like: {within: {column: visit_id}}
    ```

    Good:

    ```yaml
    tasks:
      click: {within: {column: request_id}}
      like: {within: {column: request_id, weight: 0.5}}
    ```
    """
    columns = {
        name: task.within.column for name, task in resolved.spec.tasks.items() if task.within
    }
    first = next(iter(columns.items()), ("", ""))
    for name, column in columns.items():
        if column != first[1]:
            yield Finding(
                resolved.span(("tasks", name, "within", "column")),
                f"`{name}` ranks rows within `{column}`, and `{first[0]}` within `{first[1]}`",
                label=f"not `{first[1]}`",
                help=f"name one column for all tasks, such as `{first[1]}`",
            )


@rule("HS421", "sessions-of-an-input", Severity.WARNING)
def sessions_of_an_input(resolved: Resolved) -> Iterator[Finding]:
    """Tasks rank rows within the values of a column that the model reads, such as the user.

    `within` compares rows as if their labels were independent. All rows of a user are not if later
    ones read rates or a history of earlier ones: the row after a like has the higher rate of likes,
    and is less often another like than the row before it. So the model learns to rank high rates
    low (docs/losses.md has the measurement). Rows of a request, a visit or a user's day read the
    same past. Ignore this warning if no feature depends on other rows of the session.

    Bad, where `user_past_likes` counts earlier rows:

    ```yaml
    features:
      user_id: {id: {buckets: 1000}, dim: 8}
      user_past_likes: {bucketize: [1, 10], dim: 8}
    tasks:
      like: {within: {column: user_id}}
    ```

    Good:

    ```yaml
    tasks:
      like: {within: {column: request_id}}
    ```
    """
    column = session_column(resolved.spec)
    read = [name for name, of in resolved.spec.features.items() if of.column == column]
    if column and read:
        task = next(name for name, task in resolved.spec.tasks.items() if task.within)
        yield Finding(
            resolved.span(("tasks", task, "within", "column")),
            f"`{task}` ranks all rows with the same `{column}` against each other, and the model "
            f"reads `{column}`",
            label="an input, so not a request",
            related=(Label(resolved.span(("features", read[0]), key=True), "read here"),),
            help="name the column of a request, a visit or a user's day, unless no feature depends "
            "on other rows",
        )
