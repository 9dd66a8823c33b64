"""Batch sizes, which command lines show without loading what predicts."""

BATCH_SIZE = 512
"""Cells predicted at a time by default: 1,024 are a few percent faster and take some 70 MB more."""
DENSE_BATCH_SIZE = 512
"""Cells at a time where all of their genes are read, in dense blocks."""
