"""The simulator's algorithms in Triton, line by line: the same names, the same order of blocks, the same bytes."""
