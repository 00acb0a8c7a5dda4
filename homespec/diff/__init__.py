"""The effects of a change of a spec: what it breaks, and where each weight comes from."""
