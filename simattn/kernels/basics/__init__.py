"""Kernels that are not attention: the machine is general, and a sum, a transposition and a product are good first lessons."""
