"""Answers of other programs, faults included, for people who must reproduce an earlier analysis."""
