"""A table, a design and predictions -> the arrays that the engine solves."""
