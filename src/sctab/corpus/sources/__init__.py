"""Sources of the cells of a corpus."""
