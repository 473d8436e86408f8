"""The simulator's algorithms in Triton, with the same names, the same order of blocks, the same bytes."""
