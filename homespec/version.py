"""The version of homespec, as generated files, reports and checkpoints record it."""

__version__ = "0.1.0"
