"""Sizes that command lines show, without loading what reads."""

BLOCK_SIZE = 1024
"""Rows read at a time where nothing else decides: 2,000 stored values a row make about 16 MB."""
