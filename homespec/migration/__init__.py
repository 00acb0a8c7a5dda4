"""Carries the plan of a diff out: what a new model gets of the weights of an old one."""
