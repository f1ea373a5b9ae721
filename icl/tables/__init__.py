"""A table as a person has it -> the numbers that the network reads: files, columns, targets, scaling."""
