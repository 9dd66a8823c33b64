"""Where the cells of a corpus come from."""
