"""The readers of the log. Each is a small class with `block` and `end`, and touches no other file but `machine`, where it is picked."""
