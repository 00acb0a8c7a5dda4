"""Carries out the plan of a diff: copies weights of an old model to a new one."""
