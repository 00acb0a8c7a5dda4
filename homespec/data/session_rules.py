"""HS530 and HS531: sessions within which tasks rank rows.

Thresholds are homespec's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from homespec.data.profiled import ProfiledData, share
from homespec.diagnostics import Finding, Severity, rule
from homespec.schema.sessions import session_column

SCATTERED = 0.05
"""A share of sessions in several places of the files that is worth a word."""
FEW = 0.01
"""A share of rows with one to compare below which the term does next to nothing."""


@rule("HS530", "scattered-sessions", Severity.WARNING)
def scattered_sessions(data: ProfiledData) -> Iterator[Finding]:
    """Rows of one session are not next to each other in the files.

    A task with `within` compares the rows of a session that are in one batch. Training keeps rows
    together that follow each other in the files; what is elsewhere comes in another batch, so pairs
    are lost, or all of them. The warning appears if this is so for more than a twentieth of the
    sessions. Sort the rows by the column when you prepare the data.

    Bad, where rows are in the order of time:

    ```yaml
    tasks:
      click: {within: {column: visit_id}}
    ```

    Good: the same, with the rows sorted by `visit_id` and then by time.
    """
    sessions = data.train.sessions
    if sessions is not None and not sessions.problem and sessions.scattered > SCATTERED:
        yield Finding(
            data.at_task(data.tasks_within[0], "within"),
            f"{data.train.name}: the rows of {100 * sessions.scattered:.3g}% of the sessions are"
            " not next to each other, so few of them meet in a batch",
            label="scattered",
            help=f"sort the rows by `{sessions.column}` when you prepare the data",
        )


@rule("HS531", "few-compared-rows", Severity.WARNING)
def few_compared_rows(data: ProfiledData) -> Iterator[Finding]:
    """Next to no rows of a task have one of the other label in their session.

    The term that `within` adds to the loss is 0 for all other rows. If less than a hundredth of the
    rows have one to be compared with, the term hardly changes what is learned. Name a column of
    larger sessions, such as the visit instead of the request, or remove `within`.

    Bad, where a request has one row:

    ```yaml
    tasks:
      click: {within: {column: request_id}}
    ```

    Good:

    ```yaml
    tasks:
      click: {within: {column: visit_id}}
    ```
    """
    sessions = data.train.sessions
    if sessions is None or sessions.problem or sessions.scattered > SCATTERED:
        return
    for name, rows in sessions.rows.items():
        if rows and sessions.compared[name] < FEW * rows:
            yield Finding(
                data.at_task(name, "within"),
                f"{data.train.name}: {share(sessions.compared[name], rows)} rows of `{name}` have"
                f" one with the other label in their `{session_column(data.spec)}`",
                label="hardly acts",
                help="name a column of larger sessions, or remove `within`",
            )
