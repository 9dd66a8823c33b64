"""Matching the genes of any dataset to those of a model: the one place that aligns genes."""
