"""Fast evaluation of trained networks from sparse input."""
