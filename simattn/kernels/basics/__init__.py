"""Kernels that are not attention: the machine is general, and what one learns first is a sum, a transposition and a product."""
