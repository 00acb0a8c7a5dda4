"""Shared by the tests of examples: a small synthetic log."""

from __future__ import annotations

import pytest

from examples.kuairand import synthesize


@pytest.fixture(scope="session")
def log() -> synthesize.Log:
    """A small synthetic log."""
    return synthesize.generate(seed=0, rows=12_000)
