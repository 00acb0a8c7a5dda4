"""Analyses of a sound spec that do not need torch: its costs, its explicit form and more."""
