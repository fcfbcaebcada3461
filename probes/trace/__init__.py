"""Hop by hop: what the path probe asks of its child process, how the child sends and reads, what hops result."""
