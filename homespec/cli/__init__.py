"""Command line: each verb is a file of this folder. Only this package chooses exit codes."""
