"""Constants that each generated file makes of its spec; here those of a small one, for tests."""

TASKS = ("click", "like")
