"""Command line: the exit codes, the same for all verbs."""

OK = 0
FINDINGS = 1
"""The spec has errors (with `--strict`, also warnings), or a checked file is stale."""
TROUBLE = 2
"""Wrong usage, output that could not be written, or a bug in homespec."""
INTERRUPTED = 130
