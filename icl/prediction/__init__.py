"""A fitted context and query rows -> scores: members, forward passes, memory, threads."""
