"""What is true, what must be counted, and how runs compare."""
