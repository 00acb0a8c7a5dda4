"""Command line: the exit codes, the same for all verbs."""

OK = 0
FINDINGS = 1
"""The spec has errors (under `--strict` warnings too), or what was checked is stale."""
TROUBLE = 2
"""Wrong usage, or a mistake of homespec."""
INTERRUPTED = 130
BROKEN_PIPE = 141
