"""Command line: the exit codes, the same for all verbs."""

OK = 0
FINDINGS = 1
"""The spec has errors (under `--strict` warnings too), or what was checked is stale."""
TROUBLE = 2
"""Wrong usage, output that could not be written, or a mistake of homespec."""
INTERRUPTED = 130
