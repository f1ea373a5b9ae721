"""More rows of a rare kind for a model to learn from, and whether they help it."""
