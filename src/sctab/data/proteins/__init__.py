"""Antibodies of a model, how the antibodies of a dataset map to them, and values on a common scale."""
