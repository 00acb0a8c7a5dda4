"""Health: what was measured of the experts and gates of a trained model, and what it means.

The numbers (`measures`), their JSON (`as_json`) and the rules on them. No torch: numbers come from
`homespec.activations` and `homespec.doctor`, or from a file.
"""
