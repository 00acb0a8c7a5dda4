"""Weights of one spec for the model of another."""
