"""What a change of a spec means: changes by what they break, and where each weight comes from."""
