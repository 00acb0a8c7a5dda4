"""Command line: a verb is a file of this folder; only this package picks exit codes."""
