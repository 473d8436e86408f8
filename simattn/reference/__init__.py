"""The second witness: attention in float64, the bounds of rounding, and closed forms of every count. Imports no kernel."""
